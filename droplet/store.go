package droplet

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/internal/shelf"
)

// Errors of a [Store].
var (
	// ErrDigestMismatch: what was fetched is not the droplet that was asked for.
	ErrDigestMismatch = errors.New("SHA1 mismatch")
	// ErrStoreClosed: the store was closed.
	ErrStoreClosed = shelf.ErrClosed
	// ErrStoreLocked: another store has the directory, in this process or in another one.
	ErrStoreLocked = shelf.ErrLocked
)

const (
	fileName = "droplet.tgz"
	fileMode = 0o744 // (dea_ng)
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
	shelf   *shelf.Shelf
	root    *os.Root
	opts    StoreOptions
	log     *slog.Logger
	started time.Time

	evicting chan struct{} // holds a token while Evict is at work: two would want the same names

	mu    sync.Mutex
	known map[string]known // by digest; of droplets that are there or were lately
}

// known is what the store remembers of a droplet that nobody needs right now.
type known struct {
	verified fileID // of the file whose digest was found right; zero if there is none
	lastUse  time.Time
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
	s, err := shelf.Open(dir, func(name string) bool {
		return deletedPattern.MatchString(name) || strings.HasPrefix(name, atomicfile.TempPrefix)
	})
	if err != nil {
		return nil, fmt.Errorf("open droplet store %s: %w", dir, err)
	}
	return &Store{
		shelf:    s,
		root:     s.Root(),
		opts:     opts,
		log:      cmp.Or(opts.Logger, slog.New(slog.DiscardHandler)),
		started:  time.Now(),
		evicting: make(chan struct{}, 1),
		known:    map[string]known{},
	}, nil
}

// Close cancels downloads, waits for all that is under way, and gives the directory free. Refs that are still held keep
// their path, which then nobody protects. Only the first call does something.
func (s *Store) Close() error { return s.shelf.Close() }

// A Ref holds a droplet in its store until Release.
type Ref struct {
	store   *Store
	sha1    string
	release sync.Once
}

// SHA1 is the digest of the droplet.
func (r *Ref) SHA1() string { return r.sha1 }

// Path is the absolute path of the droplet. Who reads the file must not change it.
func (r *Ref) Path() string { return filepath.Join(r.store.shelf.Dir(), r.sha1, fileName) }

// Open opens the droplet for reading. The caller closes it.
func (r *Ref) Open() (*os.File, error) { return r.store.root.Open(path.Join(r.sha1, fileName)) }

// Release lets the store remove the droplet when it is evicted. Only the first call does something.
func (r *Ref) Release() {
	r.release.Do(func() {
		r.store.remember(r.sha1, func(k *known) { k.lastUse = time.Now() })
		r.store.shelf.Release(r.sha1)
	})
}

// remember changes what the store knows of a droplet.
func (s *Store) remember(sha1 string, change func(*known)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.known[sha1]
	change(&k)
	s.known[sha1] = k
}
