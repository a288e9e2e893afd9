package droplet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/deakit/deakit/internal/atomicfile"
)

// Errors of a [Store].
var (
	// ErrDigestMismatch: what was fetched is not the droplet that was asked for.
	ErrDigestMismatch = errors.New("SHA1 mismatch")
	// ErrStoreClosed: the store was closed.
	ErrStoreClosed = errors.New("droplet store is closed")
	// ErrStoreLocked: another store has the directory, in this process or in another one.
	ErrStoreLocked = errors.New("another droplet store uses the directory")
)

const (
	fileName = "droplet.tgz"
	fileMode = 0o744 // (dea_ng)
	lockName = ".lock"
)

var (
	digestPattern  = regexp.MustCompile(`^[0-9a-f]{40}$`)
	deletedPattern = regexp.MustCompile(`^[0-9a-f]{40}(\.deleted\.[0-9]+)+$`)
)

// StoreOptions are the options of [NewStore]. The zero value is useful.
type StoreOptions struct {
	// KeepFor is how long Evict spares a droplet after its last use, counted at the earliest from NewStore. Default 0.
	KeepFor time.Duration

	// Logger hears of damaged files and of what could not be removed. Nil discards.
	Logger *slog.Logger
}

// A Store keeps droplets in a directory, as <SHA-1>/droplet.tgz with mode 0744 (dea_ng). Each is downloaded once,
// however many ask for it, and not removed while a [Ref] to it is held. Its methods may be called from several
// goroutines at once.
//
// A directory belongs to one Store at a time, which a lock on the file .lock in it ensures also between processes: a
// DEA and a stager that want to share droplets share the Store. Nobody else may write into it.
type Store struct {
	dir     string // absolute
	root    *os.Root
	lock    *os.File
	opts    StoreOptions
	log     *slog.Logger
	started time.Time

	evicting chan struct{}  // holds a token while Evict is at work: two would want the same names
	running  sync.WaitGroup // calls and flights at work; none begins once closed is true

	mu      sync.Mutex
	closed  bool
	entries map[string]*entry
}

// An entry is what the store knows of a digest. It is guarded by Store.mu.
type entry struct {
	refs     int     // Refs, waiting calls and flights; Evict spares the digest while there are any
	flight   *flight // that new calls join; nil if there is none
	verified fileID  // of the file whose digest was found right; zero if there is none
	lastUse  time.Time
}

// A flight is one check of a droplet on disk and, if need be, one download of it. Store.mu guards waiters.
type flight struct {
	cancel  context.CancelFunc
	waiters int
	done    chan struct{} // closed when err is set
	err     error
}

// fileID tells whether a file is still the one that was verified.
type fileID struct {
	dev, inode  uint64
	size, mtime int64
	changed     int64 // status change time, which a program cannot set at will
}

// NewStore opens the directory dir as a store, makes it if need be, and removes what earlier processes left half-made.
// The caller closes the store.
func NewStore(dir string, opts StoreOptions) (*Store, error) {
	s, err := newStore(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("open droplet store %s: %w", dir, err)
	}
	return s, nil
}

func newStore(dir string, opts StoreOptions) (*Store, error) {
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
		root.Close()
		return nil, err
	}
	s := &Store{
		dir:      dir,
		root:     root,
		lock:     lock,
		opts:     opts,
		log:      opts.Logger,
		started:  time.Now(),
		evicting: make(chan struct{}, 1),
		entries:  map[string]*entry{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.sweep(); err != nil {
		lock.Close()
		root.Close()
		return nil, err
	}
	return s, nil
}

func lockDirectory(root *os.Root) (*os.File, error) {
	lock, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrStoreLocked
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	return lock, nil
}

// names returns what stands in the directory.
func (s *Store) names() ([]string, error) {
	d, err := s.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// sweep removes temporary files and directories on their way out, which are nobody's once the lock is held.
func (s *Store) sweep() error {
	names, err := s.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if deletedPattern.MatchString(name) || strings.HasPrefix(name, atomicfile.TempPrefix) {
			if err := s.root.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin counts a call that works on the directory, unless the store is closed. The caller ends it with s.running.Done.
func (s *Store) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrStoreClosed
	}
	s.running.Add(1)
	return nil
}

// Close cancels downloads, waits for all that is under way, and gives the directory free. Refs that are still held keep
// their path, which then nobody protects. Only the first call does something.
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

// A Ref holds a droplet in its store until Release.
type Ref struct {
	store   *Store
	sha1    string
	release sync.Once
}

// SHA1 is the digest of the droplet.
func (r *Ref) SHA1() string { return r.sha1 }

// Path is the absolute path of the droplet. Who reads the file must not change it.
func (r *Ref) Path() string { return filepath.Join(r.store.dir, r.sha1, fileName) }

// Open opens the droplet for reading. The caller closes it.
func (r *Ref) Open() (*os.File, error) { return r.store.root.Open(path.Join(r.sha1, fileName)) }

// Release lets the store remove the droplet when it is evicted. Only the first call does something.
func (r *Ref) Release() {
	r.release.Do(func() { r.store.unpin(r.sha1) })
}

// pin keeps a digest from eviction until unpin. The caller holds s.mu.
func (s *Store) pin(sha1 string) *entry {
	e := s.entries[sha1]
	if e == nil {
		e = &entry{}
		s.entries[sha1] = e
	}
	e.refs++
	return e
}

func (s *Store) unpin(sha1 string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[sha1]
	e.refs--
	e.lastUse = time.Now()
	if e.refs == 0 && e.verified == (fileID{}) {
		delete(s.entries, sha1) // there is nothing to know about it
	}
}
