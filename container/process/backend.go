package process

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
)

var (
	// ErrDepotInUse: another back end, of this or another process, works in the depot.
	ErrDepotInUse = errors.New("depot is in use")
	// ErrNotDepot: the directory holds something and was not made by this package. All that a depot holds is removed
	// when its back end is gone, so it must be a directory of its own.
	ErrNotDepot = errors.New("directory is not empty and not a depot")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("back end is closed")
)

// Options are the options of [New]. Depot is required; zero takes the default of the others.
type Options struct {
	// Depot is the directory for the files of the containers. It is made if need be. It must be empty or have been a
	// depot before, as what is in it is removed.
	Depot string

	// StopGrace is how long processes have to act on SIGTERM. Default 10 s (Warden).
	StopGrace time.Duration

	// Ports are those that NetIn draws from. The default is what lies behind the kernel's range for outgoing
	// connections, 61000 to 65535 on most machines.
	Ports PortRange

	// HostIP is the address at which apps are reached. Default 127.0.0.1; a node tells its own.
	HostIP string

	// WatchInterval is how often the memory of containers with a limit is measured. Default 1 s.
	WatchInterval time.Duration

	// Logger may be nil: nothing is logged.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.Depot == "" {
		return o, fmt.Errorf("Depot is missing: %w", container.ErrInvalid)
	}
	if o.StopGrace < 0 || o.WatchInterval < 0 {
		return o, fmt.Errorf("StopGrace or WatchInterval is negative: %w", container.ErrInvalid)
	}
	if o.Ports == (PortRange{}) {
		o.Ports = defaultPorts()
	}
	if o.Ports.First == 0 || o.Ports.First > o.Ports.Last {
		return o, fmt.Errorf("Ports from %d to %d: %w", o.Ports.First, o.Ports.Last, container.ErrInvalid)
	}
	o.StopGrace = cmp.Or(o.StopGrace, 10*time.Second)
	o.HostIP = cmp.Or(o.HostIP, "127.0.0.1")
	o.WatchInterval = cmp.Or(o.WatchInterval, time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Backend makes containers of plain child processes. It implements container.Backend.
type Backend struct {
	depot  *os.Root
	lock   *os.File // holds the depot
	prefix string   // of the markers of all its containers
	grace  time.Duration
	hostIP string
	ports  *portPool
	log    *slog.Logger

	stopWatch context.CancelFunc
	creating  sync.WaitGroup // calls of Create
	work      sync.WaitGroup // all goroutines but those that read a caller's input

	mu     sync.Mutex
	boxes  map[string]*box // nil while Create is at work
	closed bool

	closing sync.Mutex // held by Close
	free    bool       // Close gave the depot back
}

var _ container.Backend = (*Backend)(nil)

// New opens a depot. What a back end that did not come to Close left there is ended and removed first. The caller calls
// Close.
//
// Errors are ErrDepotInUse, ErrNotDepot, container.ErrInvalid, and those of the file system.
func New(opts Options) (*Backend, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open process back end: %w", err)
	}
	depot, lock, err := openDepot(opts.Depot)
	if err != nil {
		return nil, fmt.Errorf("open depot %s: %w", opts.Depot, err)
	}
	b := &Backend{
		depot:  depot,
		lock:   lock,
		grace:  opts.StopGrace,
		hostIP: opts.HostIP,
		ports:  newPortPool(opts.Ports),
		log:    opts.Logger,
		boxes:  map[string]*box{},
	}
	if err := b.takeOver(); err != nil {
		lock.Close()
		depot.Close()
		return nil, fmt.Errorf("clean depot %s: %w", opts.Depot, err)
	}
	b.log.Info("containers are plain processes", "not_enforced", strings.Join(b.Capabilities().Unenforced(), ", "))
	ctx, cancel := context.WithCancel(context.Background())
	b.stopWatch = cancel
	b.work.Go(func() { b.watch(ctx, opts.WatchInterval) })
	return b, nil
}

// lockName is the file that makes a directory a depot. Containers cannot have this name.
const lockName = ".deakit-depot"

// openDepot opens and locks a depot, and makes it if need be.
func openDepot(dir string) (_ *os.Root, lock *os.File, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	if len(entries) > 0 && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == lockName }) {
		return nil, nil, fmt.Errorf("it holds %q: %w", entries[0].Name(), ErrNotDepot)
	}
	lock, err = os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil, ErrDepotInUse
	}
	if err != nil {
		return nil, nil, err
	}
	depot, err := os.OpenRoot(dir)
	return depot, lock, err
}

// takeOver ends and removes what a predecessor left in the depot.
func (b *Backend) takeOver() error {
	dir := b.depot.Name()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return err
	}
	// The name alone could mean a depot in another mount namespace, the inode alone one that was deleted.
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", dir, st.Dev, st.Ino))
	b.prefix = hex.EncodeToString(sum[:8]) + "."

	left := func(s *snapshot) []proc {
		return s.tree(clues{marked: func(marker string) bool { return strings.HasPrefix(marker, b.prefix) }})
	}
	s, err := takeSnapshot()
	if err != nil {
		return err
	}
	found := len(living(left(s)))
	s.close()
	if found > 0 {
		b.log.Warn("ending processes that an earlier back end left", "depot", dir, "processes", found)
		kill(left, b.log)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == lockName {
			continue
		}
		b.log.Warn("removing a container that an earlier back end left", "depot", dir, "handle", e.Name())
		if err := removeTree(b.depot, e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// Capabilities tells that next to nothing is enforced.
func (b *Backend) Capabilities() container.Capabilities {
	return container.Capabilities{Name: "process", Memory: container.Watched}
}

// Create makes a container. Spec.RootFS has no effect. Bind mounts must not lie in each other or hide container.AppHome
// (container.ErrUnsupported), and their source must exist.
func (b *Backend) Create(ctx context.Context, spec container.Spec) (container.Container, error) {
	if spec.Handle == "" {
		spec.Handle = newHandle()
	}
	c, err := b.create(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("create container %q: %w", spec.Handle, err)
	}
	return c, nil
}

func (b *Backend) create(ctx context.Context, spec container.Spec) (c *box, err error) {
	if !validHandle(spec.Handle) {
		return nil, fmt.Errorf("handle must be 1 to 64 letters, digits, '-' and '_': %w", container.ErrInvalid)
	}
	if err := checkLimits(spec.Limits); err != nil {
		return nil, err
	}
	mounts, err := checkMounts(spec.BindMounts)
	if err != nil {
		return nil, err
	}
	c = &box{
		b:          b,
		handle:     spec.Handle,
		dir:        filepath.Join(b.depot.Name(), spec.Handle),
		marker:     b.prefix + spec.Handle + "." + newHandle(),
		since:      ticksNow(),
		mounts:     mounts,
		env:        slices.Clone(spec.Env),
		properties: maps.Clone(spec.Properties),
		state:      container.StateActive,
		limits:     cloneLimits(spec.Limits),
		procs:      map[uint32]*process{},
		sessions:   map[int]lifetime{},
	}
	if _, err := c.environment(container.ProcessSpec{}); err != nil {
		return nil, err
	}
	if err := b.reserve(ctx, c.handle); err != nil {
		return nil, err
	}
	defer b.creating.Done()
	if c.root, err = makeFiles(c.dir, mounts); err == nil {
		c.ctx, c.cancel = context.WithCancelCause(context.Background())
		if err = b.publish(ctx, c); err == nil {
			return c, nil
		}
		c.root.Close()
	}
	if !errors.Is(err, container.ErrExists) { // else what stands there is not ours
		err = errors.Join(err, removeTree(b.depot, c.handle))
	}
	b.forget(c)
	return nil, err
}

// reserve takes a handle. When it succeeds, the caller tells b.creating when it is done.
func (b *Backend) reserve(ctx context.Context, handle string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	if _, taken := b.boxes[handle]; taken {
		return container.ErrExists
	}
	b.boxes[handle] = nil
	b.creating.Add(1)
	return nil
}

// publish makes a container visible.
func (b *Backend) publish(ctx context.Context, c *box) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b.boxes[c.handle] = c
	return nil
}

// forget gives a handle back.
func (b *Backend) forget(c *box) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.boxes, c.handle)
}

// newHandle draws a handle of the form that Warden gives: 11 characters 0-9 and a-v.
func newHandle() string {
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	return strings.ToLower(base32.HexEncoding.EncodeToString(random))[:11]
}

func validHandle(handle string) bool {
	return handle != "" && len(handle) <= 64 && !strings.ContainsFunc(handle, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

// Lookup finds a container that this back end made.
func (b *Backend) Lookup(ctx context.Context, handle string) (container.Container, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("look up container %q: %w", handle, err)
	}
	b.mu.Lock()
	c := b.boxes[handle]
	b.mu.Unlock()
	if c == nil || c.usable(ctx) != nil {
		return nil, fmt.Errorf("look up container %q: %w", handle, container.ErrNotFound)
	}
	return c, nil
}

// List returns the handles of all containers, but of those that are being made or destroyed.
func (b *Backend) List(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var handles []string
	for _, c := range b.all() {
		if c.usable(ctx) == nil {
			handles = append(handles, c.handle)
		}
	}
	return handles, nil
}

func (b *Backend) all() []*box {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Collect(maps.Values(b.boxes)), func(c *box) bool { return c == nil })
}

// Close destroys all containers and gives the depot free. It returns when all goroutines have ended, but for those that
// wait for a caller's input; when ctx ends first, or a container cannot be removed, Close may be called again. Create
// fails with ErrClosed from the first call on. Once it succeeded, a further Close does nothing.
func (b *Backend) Close(ctx context.Context) error {
	b.closing.Lock()
	defer b.closing.Unlock()
	if b.free {
		return nil
	}
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	if err := wait(ctx, &b.creating); err != nil {
		return fmt.Errorf("close process back end: %w", err)
	}
	removals := map[*box]*removal{}
	for _, c := range b.all() {
		removals[c], _ = c.destroy()
	}
	var errs []error
	for c, r := range removals {
		errs = append(errs, c.await(ctx, r))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close process back end: %w", err)
	}
	b.stopWatch()
	if err := wait(ctx, &b.work); err != nil {
		return fmt.Errorf("close process back end: %w", err)
	}
	b.free = true
	return errors.Join(b.depot.Close(), b.lock.Close())
}

// wait waits for wg or the end of ctx.
func wait(ctx context.Context, wg *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
