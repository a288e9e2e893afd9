package buildpack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/internal/rmtree"
	"github.com/deakit/deakit/internal/tarball"
	"github.com/deakit/deakit/staging/internal/archive"
)

// ensure downloads and unpacks a buildpack unless it is there. The key is held.
func (s *Store) ensure(ctx context.Context, key string, download func(context.Context, io.Writer) error) error {
	if info, err := s.root.Lstat(key); err == nil && info.IsDir() {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := atomicfile.Create(s.root, ".", 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := s.download(ctx, key, file.File, download); err != nil {
		return err
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	limits := tarball.Limits{MaxBytes: s.opts.MaxBytes, MaxMembers: s.opts.MaxFiles}
	made, err := unpackNew(ctx, s.root, file, size, limits)
	if err == nil {
		err = s.place(made, key)
	}
	if errors.Is(err, fs.ErrExist) { // a flight that was given up too late for it to notice has put it there
		err = nil
	} else if err == nil {
		return nil
	}
	return errors.Join(err, rmtree.In(s.root, made))
}

// download fills the file, in several attempts if need be.
func (s *Store) download(ctx context.Context, key string, file *os.File, download func(context.Context, io.Writer) error) error {
	for attempt := 1; ; attempt++ {
		if err := file.Truncate(0); err != nil {
			return err
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		err := download(ctx, &cappedWriter{file, s.opts.MaxZipBytes})
		if err == nil {
			return nil
		}
		s.log.Warn("buildpack.download.failed", "key", key, "attempt", attempt, "error", err)
		if attempt >= s.opts.Attempts || ctx.Err() != nil || errors.Is(err, tarball.ErrLimit) {
			return err
		}
	}
}

type cappedWriter struct {
	w    io.Writer
	left int64
}

func (c *cappedWriter) Write(p []byte) (int, error) {
	if c.left -= int64(len(p)); c.left < 0 {
		return 0, fmt.Errorf("archive is too large: %w", tarball.ErrLimit)
	}
	return c.w.Write(p)
}

// unpackNew unpacks an archive into a new directory below root and returns its name, also when it fails.
func unpackNew(ctx context.Context, root *os.Root, file io.ReaderAt, size int64, limits tarball.Limits) (string, error) {
	name := atomicfile.TempPrefix + rand.Text()
	if err := root.Mkdir(name, 0o755); err != nil {
		return name, err
	}
	if err := root.Chmod(name, 0o755); err != nil { // whatever the umask
		return name, err
	}
	return name, unpack(ctx, root, name, file, size, limits)
}

// unpack unpacks a zip or tar file into the directory dir below root. Links may point wherever they like: they are followed
// in the container only.
func unpack(ctx context.Context, root *os.Root, dir string, file io.ReaderAt, size int64, limits tarball.Limits) error {
	from, to := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		to.CloseWithError(archive.Write(ctx, to, file, size, limits))
	}()
	err := tarball.Extract(ctx, root, dir, from, tarball.ExtractOptions{Limits: limits, AbsoluteLinks: true})
	from.CloseWithError(io.ErrClosedPipe)
	<-written
	return err
}

// place gives a complete directory its key. All of it is on disk before, because its existence will be taken as proof
// that it is whole.
func (s *Store) place(made, key string) error {
	d, err := s.root.Open(made)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("write buildpack to disk: %w", err)
	}
	return s.root.Rename(made, key)
}
