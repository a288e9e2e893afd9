package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
	"github.com/deakit/deakit/internal/hostport"
)

var (
	// ErrDepotInUse: another back end, of this or another process, works in the depot.
	ErrDepotInUse = errors.New("depot is in use")
	// ErrNotDepot: the directory holds something and was not made by this package. What a depot holds and is no container
	// is removed, so it must be a directory of its own.
	ErrNotDepot = errors.New("directory is not empty and not a depot")
	// ErrStrays: processes that an earlier back end left did not end within Options.TakeOverTimeout.
	ErrStrays = errors.New("processes that an earlier back end left do not end")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("back end is closed")
)

// PortRange is a range of ports, both ends included.
type PortRange = hostport.Range

// Options are the options of [New]. Depot is required; zero takes the default of the others.
type Options struct {
	// Depot is the directory for the files of the containers. It is made if need be. It must be empty or have been a
	// depot before: what is in it is adopted or removed.
	Depot string

	// Fresh ends and removes the containers that an earlier back end left in the depot, where New otherwise adopts
	// them. It is for those who know of no container but those that they made themselves.
	Fresh bool

	// TakeOverTimeout is how long New may take to end and remove what an earlier back end left and cannot be adopted.
	// Default 30 s.
	TakeOverTimeout time.Duration

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

	unsupervised bool // as where there is no supervisor; for tests
}

func (o Options) withDefaults() (Options, error) {
	if o.Depot == "" {
		return o, fmt.Errorf("option Depot is missing: %w", container.ErrInvalid)
	}
	if o.StopGrace < 0 || o.WatchInterval < 0 || o.TakeOverTimeout < 0 {
		return o, fmt.Errorf("option StopGrace, WatchInterval or TakeOverTimeout is negative: %w", container.ErrInvalid)
	}
	if o.Ports == (PortRange{}) {
		o.Ports = hostport.Default()
	}
	if o.Ports.First == 0 || o.Ports.First > o.Ports.Last {
		return o, fmt.Errorf("option Ports from %d to %d: %w", o.Ports.First, o.Ports.Last, container.ErrInvalid)
	}
	o.TakeOverTimeout = cmp.Or(o.TakeOverTimeout, 30*time.Second)
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
	boot   uint64   // stands for the time since the machine started
	fresh  bool
	grace  time.Duration
	hostIP string
	ports  *hostport.Pool
	log    *slog.Logger
	tables tableReader

	supervisor *supervisor // nil where there is none

	stopWatch context.CancelFunc
	fleet     containerkit.Fleet[box]
	work      sync.WaitGroup // all goroutines but those that read a caller's input

	closing sync.Mutex // held by Close
	free    bool       // Close gave the depot back
}

var _ container.Backend = (*Backend)(nil)

// New opens a depot. It adopts the containers that a back end which did not come to Close left there, unless
// Options.Fresh is set; what cannot be adopted is ended and removed first, with a word in the log. The caller calls Close.
// Where there was no depot it looks for nothing; else it looks at the environment of every process of the machine once.
//
// Errors are ErrDepotInUse, ErrNotDepot, ErrStrays, container.ErrInvalid, and those of the file system.
func New(opts Options) (*Backend, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open process back end: %w", err)
	}
	depot, lock, made, err := openDepot(opts.Depot)
	if err != nil {
		return nil, fmt.Errorf("open depot %s: %w", opts.Depot, err)
	}
	b := &Backend{
		depot:  depot,
		lock:   lock,
		fresh:  opts.Fresh,
		grace:  opts.StopGrace,
		hostIP: opts.HostIP,
		ports:  hostport.NewPool(opts.Ports),
		log:    opts.Logger,
	}
	if !opts.unsupervised {
		if b.supervisor, err = newSupervisor(); err != nil {
			b.log.Warn("exit statuses will be lost if this program is killed", "error", err)
		}
	}
	if err := b.begin(made, opts); err != nil {
		b.letGo()
		return nil, errors.Join(fmt.Errorf("take over depot %s: %w", opts.Depot, err), b.closeFiles())
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.stopWatch = cancel
	b.work.Go(func() { b.watch(ctx, opts.WatchInterval) })
	return b, nil
}

// begin makes the back end one of its depot, and of what is in that.
func (b *Backend) begin(made bool, opts Options) (err error) {
	if b.prefix, err = depotPrefix(b.depot.Name()); err != nil {
		return err
	}
	b.boot = bootNumber()
	if made {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), opts.TakeOverTimeout)
	defer cancel()
	return b.takeOver(ctx, opts.Fresh)
}

// Capabilities tells that next to nothing is enforced.
func (b *Backend) Capabilities() container.Capabilities {
	return container.Capabilities{Name: "process", Memory: container.Watched, Survives: !b.fresh}
}

// Lookup finds a container that this back end made or adopted.
func (b *Backend) Lookup(ctx context.Context, handle string) (container.Container, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("look up container %q: %w", handle, err)
	}
	c := b.fleet.Find(handle)
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
	for _, c := range b.fleet.All() {
		if c.usable(ctx) == nil {
			handles = append(handles, c.handle)
		}
	}
	return handles, nil
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
	b.fleet.Refuse(ErrClosed)
	if err := b.fleet.Wait(ctx); err != nil {
		return fmt.Errorf("close process back end: %w", err)
	}
	removals := map[*box]*removal{}
	for _, c := range b.fleet.All() {
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
	if err := containerkit.AwaitAll(ctx, &b.work); err != nil {
		return fmt.Errorf("close process back end: %w", err)
	}
	b.free = true
	return b.closeFiles()
}

func (b *Backend) closeFiles() error {
	var err error
	if b.supervisor != nil {
		err = b.supervisor.close()
	}
	return errors.Join(err, b.depot.Close(), b.lock.Close())
}
