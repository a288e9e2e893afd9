package buildpack

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/internal/rmtree"
	"github.com/deakit/deakit/internal/shelf"
)

// Errors of a [Store].
var (
	// ErrKey: the key cannot be the name of a directory.
	ErrKey = errors.New("key must be 1 to 200 letters, digits, '.', '_' and '-', and begin with a letter or digit")
	// ErrStoreClosed: the store was closed.
	ErrStoreClosed = shelf.ErrClosed
	// ErrStoreLocked: another store has the directory, in this process or in another one.
	ErrStoreLocked = shelf.ErrLocked
)

var keyPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`)

// StoreOptions are the options of [OpenStore]. The zero value is useful.
type StoreOptions struct {
	// Attempts is how often a download is tried; default 3 (dea_ng).
	Attempts int

	// MaxZipBytes bounds a download; default 2 GiB. MaxBytes and MaxFiles bound what is in it; default 4 GiB, 500,000.
	MaxZipBytes int64
	MaxBytes    int64
	MaxFiles    int

	// Logger hears of failed attempts and of what could not be removed. Nil discards.
	Logger *slog.Logger
}

// A Store keeps admin buildpacks in a directory, each in one of its own that has the key as its name: new content has
// a new key (dea_ng). Each is downloaded once, however many ask for it, appears as a whole or not at all, and is not
// removed while a [Ref] to it is held. Its methods may be called from several goroutines at once.
//
// A directory belongs to one Store at a time, which a lock on the file .lock in it ensures also between processes.
// Nobody else may write into it.
type Store struct {
	shelf *shelf.Shelf
	root  *os.Root
	opts  StoreOptions
	log   *slog.Logger
}

// OpenStore opens the directory dir as a store, makes it if need be (mode 0755), and removes what earlier processes left
// half-made. The caller closes the store.
func OpenStore(dir string, opts StoreOptions) (*Store, error) {
	opts.Attempts = cmp.Or(opts.Attempts, 3)
	opts.MaxZipBytes = cmp.Or(opts.MaxZipBytes, 2<<30)
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	s, err := shelf.Open(dir, func(name string) bool { return strings.HasPrefix(name, atomicfile.TempPrefix) })
	if err != nil {
		return nil, fmt.Errorf("open buildpack store %s: %w", dir, err)
	}
	return &Store{shelf: s, root: s.Root(), opts: opts, log: opts.Logger}, nil
}

// Close cancels downloads, waits for them, and gives the directory free. Only the first call does something.
func (s *Store) Close() error { return s.shelf.Close() }

// A Ref holds a buildpack in its store until Release.
type Ref struct {
	store   *Store
	key     string
	release sync.Once
}

// Buildpack returns the buildpack, of the kind that [Open] finds. It may be used until Release.
func (r *Ref) Buildpack() (Buildpack, error) { return Open(r.key, r.Path()) }

// Key of the buildpack.
func (r *Ref) Key() string { return r.key }

// Path is the absolute path of the buildpack's directory.
func (r *Ref) Path() string { return filepath.Join(r.store.shelf.Dir(), r.key) }

// Release lets the store remove the buildpack. Only the first call does something.
func (r *Ref) Release() { r.release.Do(func() { r.store.shelf.Release(r.key) }) }

// Get returns the buildpack with this key. If it is there, download is not called; otherwise download writes the zip or
// tar file to the writer it gets, and is called again when it fails, up to Attempts times. What it wrote is unpacked with modes and
// links; archives that reach out of their directory or exceed the limits are refused.
//
// Calls for the same key share one download, that of the first call, and all get its result. The context that download
// gets ends when all calls that wait have ended theirs. The caller releases the Ref.
func (s *Store) Get(ctx context.Context, key string, download func(context.Context, io.Writer) error) (*Ref, error) {
	if !keyPattern.MatchString(key) {
		return nil, fmt.Errorf("buildpack %.60q: %w", key, ErrKey)
	}
	err := s.shelf.Fetch(ctx, key, func(ctx context.Context) error { return s.ensure(ctx, key, download) })
	if err != nil {
		return nil, fmt.Errorf("buildpack %s: %w", key, err)
	}
	return &Ref{store: s, key: key}, nil
}

// File returns a download function for a zip or tar file of this machine.
func File(name string) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	}
}

// Prune removes the buildpacks that are neither in keep nor held by a Ref, and returns how many it removed.
func (s *Store) Prune(ctx context.Context, keep []string) (removed int, err error) {
	done, err := s.shelf.Begin()
	if err != nil {
		return 0, fmt.Errorf("prune buildpack store: %w", err)
	}
	defer done()
	names, err := s.shelf.Names()
	if err != nil {
		return 0, fmt.Errorf("prune buildpack store: %w", err)
	}
	kept := map[string]bool{}
	for _, key := range keep {
		kept[key] = true
	}
	var failed []error
	for _, name := range names {
		if ctx.Err() != nil {
			return removed, context.Cause(ctx)
		}
		if kept[name] || !keyPattern.MatchString(name) {
			continue
		}
		gone := atomicfile.TempPrefix + rand.Text()
		retired, err := s.shelf.Retire(name, gone, nil)
		if retired {
			removed++
			err = rmtree.In(s.root, gone)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	if err := errors.Join(failed...); err != nil {
		return removed, fmt.Errorf("prune buildpack store: %w", err)
	}
	return removed, nil
}
