package buildpack

import (
	"cmp"
	"context"
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
	"syscall"

	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/internal/rmtree"
)

// Errors of a [Store].
var (
	// ErrKey: the key cannot be the name of a directory.
	ErrKey = errors.New("key must be 1 to 200 letters, digits, '.', '_' and '-', and begin with a letter or digit")
	// ErrStoreClosed: the store was closed.
	ErrStoreClosed = errors.New("buildpack store is closed")
	// ErrStoreLocked: another store has the directory, in this process or in another one.
	ErrStoreLocked = errors.New("buildpack store is in use by another process")
)

const lockName = ".lock"

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
	dir  string // absolute
	root *os.Root
	lock *os.File
	opts StoreOptions
	log  *slog.Logger

	running sync.WaitGroup // flights

	mu      sync.Mutex
	closed  bool
	entries map[string]*entry
}

// An entry is what the store knows of a key that somebody needs. It is guarded by Store.mu.
type entry struct {
	refs   int     // Refs, waiting calls and flights
	flight *flight // that new calls join; nil if there is none
}

// A flight is one look for a buildpack on disk and, if need be, one download. Store.mu guards waiters.
type flight struct {
	cancel  context.CancelFunc
	waiters int
	done    chan struct{} // closed when err is set
	err     error
}

// OpenStore opens the directory dir as a store, makes it if need be (mode 0755), and removes what earlier processes left
// half-made. The caller closes the store.
func OpenStore(dir string, opts StoreOptions) (*Store, error) {
	s, err := openStore(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("open buildpack store %s: %w", dir, err)
	}
	return s, nil
}

func openStore(dir string, opts StoreOptions) (*Store, error) {
	opts.Attempts = cmp.Or(opts.Attempts, 3)
	opts.MaxZipBytes = cmp.Or(opts.MaxZipBytes, 2<<30)
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	lock, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		root.Close()
		return nil, err
	}
	s := &Store{dir: dir, root: root, lock: lock, opts: opts, log: opts.Logger, entries: map[string]*entry{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrStoreLocked
	}
	if err == nil {
		err = s.sweep()
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close(), root.Close())
	}
	return s, nil
}

// sweep removes what is half-made, which is nobody's once the lock is held.
func (s *Store) sweep() error {
	names, err := s.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, atomicfile.TempPrefix) {
			if err := rmtree.In(s.root, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) names() ([]string, error) {
	d, err := s.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// Close cancels downloads, waits for them, and gives the directory free. Only the first call does something.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for _, e := range s.entries {
		if e.flight != nil {
			e.flight.cancel()
		}
	}
	s.mu.Unlock()
	s.running.Wait()
	return errors.Join(s.lock.Close(), s.root.Close())
}

// A Ref holds a buildpack in its store until Release.
type Ref struct {
	store   *Store
	key     string
	release sync.Once
}

// Buildpack returns the buildpack. It may be used until Release.
func (r *Ref) Buildpack() *Classic { return &Classic{key: r.key, dir: r.Path()} }

// Key of the buildpack.
func (r *Ref) Key() string { return r.key }

// Path is the absolute path of the buildpack's directory.
func (r *Ref) Path() string { return filepath.Join(r.store.dir, r.key) }

// Release lets the store remove the buildpack. Only the first call does something.
func (r *Ref) Release() { r.release.Do(func() { r.store.unpin(r.key) }) }

// Get returns the buildpack with this key. If it is there, download is not called; otherwise download writes the zip file
// to the writer it gets, and is called again when it fails, up to Attempts times. What it wrote is unpacked with modes and
// links; archives that reach out of their directory or exceed the limits are refused.
//
// Calls for the same key share one download, that of the first call, and all get its result. The context that download
// gets ends when all calls that wait have ended theirs. The caller releases the Ref.
func (s *Store) Get(ctx context.Context, key string, download func(context.Context, io.Writer) error) (*Ref, error) {
	if !keyPattern.MatchString(key) {
		return nil, fmt.Errorf("buildpack %.60q: %w", key, ErrKey)
	}
	f, err := s.join(ctx, key, download)
	if err != nil {
		return nil, fmt.Errorf("buildpack %s: %w", key, err)
	}
	select {
	case <-f.done:
		err = f.err
	case <-ctx.Done():
		err = context.Cause(ctx)
		s.leave(key, f)
	}
	if err != nil {
		s.unpin(key)
		return nil, fmt.Errorf("buildpack %s: %w", key, err)
	}
	return &Ref{store: s, key: key}, nil
}

// File returns a download function for a zip file of this machine.
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

// join pins the key and waits with the flight for it, which it starts if there is none.
func (s *Store) join(ctx context.Context, key string, download func(context.Context, io.Writer) error) (*flight, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrStoreClosed
	}
	e := s.pin(key)
	if e.flight == nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f := &flight{cancel: cancel, done: make(chan struct{})}
		e.flight = f
		s.pin(key) // for the flight itself, which may outlast those who wait for it
		s.running.Go(func() {
			defer cancel()
			f.err = s.ensure(ctx, key, download)
			s.land(key, f)
			close(f.done)
		})
	}
	e.flight.waiters++
	return e.flight, nil
}

// leave stops waiting. A flight that nobody waits for is cancelled, and nobody joins it any more.
func (s *Store) leave(key string, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiters--; f.waiters > 0 {
		return
	}
	f.cancel()
	if e := s.entries[key]; e.flight == f {
		e.flight = nil
	}
}

func (s *Store) land(key string, f *flight) {
	s.mu.Lock()
	if e := s.entries[key]; e.flight == f {
		e.flight = nil
	}
	s.mu.Unlock()
	s.unpin(key)
}

// pin keeps a buildpack from being removed until unpin. The caller holds s.mu.
func (s *Store) pin(key string) *entry {
	e := s.entries[key]
	if e == nil {
		e = &entry{}
		s.entries[key] = e
	}
	e.refs++
	return e
}

func (s *Store) unpin(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	if e.refs--; e.refs == 0 {
		delete(s.entries, key)
	}
}

// Prune removes the buildpacks that are neither in keep nor held by a Ref, and returns how many it removed.
func (s *Store) Prune(ctx context.Context, keep []string) (removed int, err error) {
	names, err := s.names()
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
		gone, err := s.retire(name)
		if err == nil && gone != "" {
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
