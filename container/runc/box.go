package runc

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/cgroup"
	"github.com/deakit/deakit/container/runc/internal/rootfs"
	"github.com/deakit/deakit/container/runc/internal/supervisor"
	"github.com/deakit/deakit/internal/containerkit"
	"github.com/deakit/deakit/internal/hostport"
)

// box is a container.
type box struct {
	b      *Backend
	handle string
	dir    string // on the host

	// What it consists of. All of it is nil or zero in one that could not be made.
	slot   *slot
	disk   *rootfs.Disk
	status *supervisor.StatusFile
	client *supervisor.Client
	init   initProcess

	statusWatch, oomWatch int32            // of fileWatch; 0 if there is none
	oom                   *cgroup.OOMWatch // where that is not by a file
	shortage              chan struct{}    // has a value when there may have been a shortage of memory

	mounts     []container.BindMount
	env        []string
	properties map[string]string

	ctx    context.Context // ends with Destroy, and with it the streams
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed when no process is left, nor will be
	left   chan struct{} // closed when we let go of it

	leaving sync.Once

	// gate is held for reading while a process is started, and for writing to stop the container: so what ends the
	// processes misses none. It is taken before mu. A start that lasts is ended by refuse first: processes of the container
	// can hold up others of their user, by stopping them before they have become their program.
	gate   sync.RWMutex
	starts context.Context // ends when the container is being stopped
	refuse context.CancelCauseFunc

	mu     sync.Mutex
	state  container.State
	events []string
	limits container.Limits
	ports  []*boundPort
	egress []container.EgressRule
	procs  map[uint32]*process
	lastID uint32
	ending *ending // nil until Stop
	killed bool    // it was stopped without a grace time
	// cpuKnown is the most that was ever measured, where no control group counts.
	cpuKnown time.Duration
	removal  *removal // nil until Destroy
}

// boundPort is a port of the host that leads to one of the container.
type boundPort struct {
	*hostport.Port
	inside uint16
}

func (p *boundPort) mapping() container.PortMapping {
	return container.PortMapping{HostPort: p.Number(), ContainerPort: p.inside}
}

// newBox returns a container of which nothing has been made.
func (b *Backend) newBox(handle string) *box {
	c := &box{
		b: b, handle: handle, dir: b.depot.path(handle), state: container.StateActive,
		procs: map[uint32]*process{}, ended: make(chan struct{}), left: make(chan struct{}), shortage: make(chan struct{}, 1),
	}
	c.client = supervisor.NewClient(c.path(socketName))
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.starts, c.refuse = context.WithCancelCause(context.Background())
	return c
}

func (c *box) Handle() string { return c.handle }

// path returns a path in the directory of the container.
func (c *box) path(name string) string { return filepath.Join(c.dir, name) }

func (c *box) group() cgroup.Group { return c.b.groups.Group(c.b.groupPath(c.handle)) }

// begin takes up the life of a container that was made or adopted: from now on its end, those of its processes, and its
// running out of memory are noticed. Nobody sees it yet.
func (c *box) begin() error {
	var err error
	if c.statusWatch, err = c.b.files.add(c.path(statusName), func() { c.collect(false) }); err != nil {
		return err
	}
	c.b.work.Go(c.awaitEnd)
	if err := c.beginOOM(); err != nil {
		return err
	}
	c.b.work.Go(c.watchOOM)
	return nil
}

// unwatch ends what begin began, but for the wait for its end.
func (c *box) unwatch() {
	c.b.files.remove(c.statusWatch)
	c.b.files.remove(c.oomWatch)
	if c.oom != nil {
		c.oom.Close()
	}
}

// awaitEnd waits for the supervisor to end.
func (c *box) awaitEnd() {
	if !c.init.wait() {
		return // we let go of it
	}
	c.collect(true)
	c.mu.Lock()
	unasked := c.ending == nil
	c.mu.Unlock()
	close(c.ended)
	if unasked {
		c.b.log.Warn("the supervisor of a container ended", "handle", c.handle)
		event := ""
		if c.outOfMemory() {
			event = container.EventOutOfMemory
		}
		c.end(true, event)
	}
}

// usable fails when ctx has ended or the container is destroyed.
func (c *box) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.present()
}

// present fails when the container is destroyed, or we let go of it. c.mu is held.
func (c *box) present() error {
	if c.removal != nil {
		return container.ErrNotFound
	}
	select {
	case <-c.left:
		return ErrClosed
	default:
		return nil
	}
}

// active fails when the container is stopped or destroyed. c.mu is held.
func (c *box) active() error {
	if err := c.present(); err != nil {
		return err
	}
	if c.state != container.StateActive {
		return container.ErrStopped
	}
	return nil
}

// Info describes the container.
func (c *box) Info(ctx context.Context) (container.Info, error) {
	if err := c.usable(ctx); err != nil {
		return container.Info{}, fmt.Errorf("info of container %s: %w", c.handle, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	info := container.Info{
		State:       c.state,
		Events:      slices.Clone(c.events),
		HostIP:      c.b.opts.HostIP,
		ContainerIP: c.b.opts.HostIP,
		Path:        c.dir,
		HostRoot:    c.path(rootfs.MergedName),
		Limits:      containerkit.CloneLimits(c.limits),
		Properties:  maps.Clone(c.properties),
	}
	if c.b.net != nil {
		_, own := c.b.net.Addresses(c.slot.index)
		info.ContainerIP = own.String()
	}
	for _, p := range c.ports {
		info.Ports = append(info.Ports, p.mapping())
	}
	for id, p := range c.procs {
		if !p.gone {
			info.Processes = append(info.Processes, id)
		}
	}
	slices.Sort(info.Processes)
	return info, nil
}
