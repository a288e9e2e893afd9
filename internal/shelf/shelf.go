package shelf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/deakit/deakit/internal/rmtree"
)

// Errors of a [Shelf].
var (
	// ErrClosed: the shelf was closed.
	ErrClosed = errors.New("store is closed")
	// ErrLocked: another store has the directory, in this process or in another one.
	ErrLocked = errors.New("another store uses the directory")
)

const lockName = ".lock"

// A Shelf is a directory in which a store keeps things by key. Its methods may be called from several goroutines at once.
type Shelf struct {
	dir  string
	root *os.Root
	lock *os.File

	running sync.WaitGroup // calls and flights at work; none begins once closed is true

	mu      sync.Mutex
	closed  bool
	entries map[string]*entry
}

// An entry is a key that somebody needs. It is guarded by Shelf.mu.
type entry struct {
	refs   int     // references, waiting calls and flights
	flight *flight // that new calls join; nil if there is none
}

// A flight is one fetch. Shelf.mu guards waiters.
type flight struct {
	cancel  context.CancelFunc
	waiters int
	done    chan struct{} // closed when err is set
	err     error
}

// Open takes the directory dir, which it makes if need be (mode 0755), and locks it by the file .lock in it. It removes
// what stands there under a name that is stale: whatever earlier processes left half-made is nobody's now. The caller
// closes the shelf.
func Open(dir string, stale func(name string) bool) (*Shelf, error) {
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
	lock, err := lockDirectory(root)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	s := &Shelf{dir: dir, root: root, lock: lock, entries: map[string]*entry{}}
	if err := s.sweep(stale); err != nil {
		return nil, errors.Join(err, lock.Close(), root.Close())
	}
	return s, nil
}

func lockDirectory(root *os.Root) (*os.File, error) {
	lock, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case err == nil:
		return lock, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = ErrLocked
	default:
		err = fmt.Errorf("lock: %w", err)
	}
	return nil, errors.Join(err, lock.Close())
}

func (s *Shelf) sweep(stale func(string) bool) error {
	names, err := s.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if stale(name) {
			if err := rmtree.In(s.root, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Dir is the absolute path of the directory.
func (s *Shelf) Dir() string { return s.dir }

// Root is the directory, open until Close.
func (s *Shelf) Root() *os.Root { return s.root }

// Names returns what stands in the directory, the lock file included.
func (s *Shelf) Names() ([]string, error) {
	d, err := s.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// Begin counts a call that works on the directory, so that Close waits for it; ErrClosed where that is too late. The
// caller calls done.
func (s *Shelf) Begin() (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.running.Add(1)
	return s.running.Done, nil
}

// Close cancels fetches, waits for all that is under way, and gives the directory free. Only the first call does
// something.
func (s *Shelf) Close() error {
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

// Hold adds a reference to the key, which the caller releases.
func (s *Shelf) Hold(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold(key)
}

// hold is Hold for who has s.mu.
func (s *Shelf) hold(key string) *entry {
	e := s.entries[key]
	if e == nil {
		e = &entry{}
		s.entries[key] = e
	}
	e.refs++
	return e
}

// Release gives up a reference.
func (s *Shelf) Release(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	if e.refs--; e.refs == 0 {
		delete(s.entries, key)
	}
}

// Held tells whether anybody has a reference to the key or waits for it.
func (s *Shelf) Held(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[key] != nil
}

// Retire renames what stands under the name of the key unless the key is held or spare says that it is to stay, and tells
// whether it did. Nobody gets hold of the key meanwhile: whoever does later finds nothing. spare may be nil.
func (s *Shelf) Retire(key, as string, spare func() bool) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[key] != nil || spare != nil && spare() {
		return false, nil
	}
	if err := s.root.Rename(key, as); err != nil {
		return false, err
	}
	return true, nil
}
