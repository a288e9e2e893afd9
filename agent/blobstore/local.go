package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/deakit/deakit/internal/atomicfile"
)

// tempName is kept free in directories of blobs: agents make a directory of this name there.
const tempName = "tmp"

// LocalOptions are the options of [NewLocal].
type LocalOptions struct {
	// KeepExisting makes Put fail with [ErrExists] instead of replacing a blob, as the Ruby client did.
	KeepExisting bool
}

// Local keeps each blob as a file of mode 0640 in a directory. It is also what an agent keeps the blobs in that are sent
// to it.
type Local struct {
	dir  string
	opts LocalOptions
}

// NewLocal keeps blobs in dir, which is made with mode 0750 once it is needed.
func NewLocal(dir string, opts LocalOptions) *Local { return &Local{dir, opts} }

// Dir is where the blobs are.
func (l *Local) Dir() string { return l.dir }

// Open opens a blob for reading. The caller closes it.
func (l *Local) Open(id string) (*os.File, error) {
	if err := l.check(id); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		return nil, absent(id, err)
	}
	defer root.Close()
	info, err := root.Stat(id)
	if err == nil && !info.Mode().IsRegular() { // opening a pipe would wait for ever
		return nil, fmt.Errorf("blob %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, absent(id, err)
	}
	f, err := root.Open(id)
	if err != nil {
		return nil, absent(id, err)
	}
	return f, nil
}

// Get copies a blob to w.
func (l *Local) Get(ctx context.Context, id string, w io.Writer) error {
	f, err := l.Open(id)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(w, reader{ctx, f}); err != nil {
		return fmt.Errorf("read blob %s: %w", id, err)
	}
	return nil
}

// Put writes a blob under a temporary name and then gives it its own.
func (l *Local) Put(ctx context.Context, id string, r io.ReadSeeker) error {
	if err := l.check(id); err != nil {
		return err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	return l.Receive(ctx, id, r)
}

// Receive is Put for a source that can be read only once.
func (l *Local) Receive(ctx context.Context, id string, r io.Reader) error {
	if err := l.check(id); err != nil {
		return err
	}
	if err := l.receive(ctx, id, r); err != nil {
		return fmt.Errorf("store blob %s: %w", id, err)
	}
	return nil
}

func (l *Local) receive(ctx context.Context, id string, r io.Reader) error {
	if err := os.MkdirAll(l.dir, 0o750); err != nil {
		return err
	}
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := root.Lstat(id); err == nil && l.opts.KeepExisting {
		return ErrExists
	}
	f, err := atomicfile.Create(root, ".", 0o640)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, reader{ctx, r}); err != nil {
		return err
	}
	return f.Commit(id)
}

// Delete removes a blob.
func (l *Local) Delete(_ context.Context, id string) error {
	if err := l.check(id); err != nil {
		return err
	}
	root, err := os.OpenRoot(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete blob %s: %w", id, err)
	}
	defer root.Close()
	if err := root.Remove(id); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete blob %s: %w", id, err)
	}
	return nil
}

// Exists tells whether there is a blob.
func (l *Local) Exists(_ context.Context, id string) (bool, error) {
	f, err := l.Open(id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// Clean removes what a process that was killed left half-written. Nobody may write meanwhile.
func (l *Local) Clean() error { return clean(l.dir) }

func (l *Local) check(id string) error {
	if id == tempName {
		return fmt.Errorf("%q is reserved: %w", id, ErrInvalidID)
	}
	return CheckID(id)
}

// absent tells a blob that is not there from one that cannot be read.
func absent(id string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob %s: %w", id, ErrNotFound)
	}
	return fmt.Errorf("read blob %s: %w", id, err)
}

// clean removes temporary files from a directory.
func clean(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clean %s: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("clean %s: %w", dir, err)
	}
	defer root.Close()
	var errs []error
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), atomicfile.TempPrefix) {
			errs = append(errs, root.Remove(entry.Name()))
		}
	}
	return errors.Join(errs...)
}

// A reader ends when its context does.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}
