package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/deakit/deakit/container"
)

// box is a container.
type box struct {
	b      *Backend
	handle string
	dir    string // on the host
	marker string // value of markerName in its processes
	since  uint64 // ticks: nothing of it is older

	root       *os.Root
	mounts     []container.BindMount
	env        []string
	properties map[string]string

	ctx    context.Context // ends with Destroy, and with it the streams
	cancel context.CancelCauseFunc

	// gate is held for reading while a process is started, and for writing to stop the container: so what ends the
	// processes misses none. It is taken before mu.
	gate sync.RWMutex

	mu       sync.Mutex
	state    container.State
	events   []string
	limits   container.Limits
	ports    []*reservedPort
	egress   []container.EgressRule
	procs    map[uint32]*process
	lastID   uint32
	sessions map[int]lifetime // that outlived their leaders, which we reaped
	cpuEnded time.Duration    // of processes that we reaped
	cpuKnown time.Duration    // the most that was ever measured
	ending   *ending          // nil until Stop
	removal  *removal         // nil until Destroy
}

// A removal is the work of Destroy.
type removal struct {
	done chan struct{}
	err  error // valid after done is closed
}

func (c *box) Handle() string { return c.handle }

func (c *box) inside(p string) string { return path.Join(c.dir, rootfsName) + path.Clean("/"+p) }

// usable fails when ctx has ended or the container is destroyed.
func (c *box) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.present()
}

// present fails when the container is destroyed. c.mu is held.
func (c *box) present() error {
	if c.removal != nil {
		return container.ErrNotFound
	}
	return nil
}

// active fails when the container is stopped or destroyed.
func (c *box) active() error {
	c.mu.Lock()
	defer c.mu.Unlock()
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
	root := path.Join(c.dir, rootfsName)
	info := container.Info{
		State:       c.state,
		Events:      slices.Clone(c.events),
		HostIP:      c.b.hostIP,
		ContainerIP: c.b.hostIP,
		Path:        c.dir,
		Root:        root,
		HostRoot:    root,
		Limits:      cloneLimits(c.limits),
		Properties:  maps.Clone(c.properties),
	}
	for _, p := range c.ports {
		info.Ports = append(info.Ports, container.PortMapping{HostPort: p.number, ContainerPort: p.number})
	}
	for id, p := range c.procs {
		if !p.gone {
			info.Processes = append(info.Processes, id)
		}
	}
	slices.Sort(info.Processes)
	return info, nil
}

// SetLimits replaces the limits. Only the memory limit has an effect: it is watched.
func (c *box) SetLimits(ctx context.Context, limits container.Limits) error {
	err := c.usable(ctx)
	if err == nil {
		err = checkLimits(limits)
	}
	if err != nil {
		return fmt.Errorf("limit container %s: %w", c.handle, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limits = cloneLimits(limits)
	return nil
}

func cloneLimits(l container.Limits) container.Limits {
	if l.Bandwidth != nil {
		b := *l.Bandwidth
		l.Bandwidth = &b
	}
	return l
}

func checkLimits(l container.Limits) error {
	if l.MemoryBytes < 0 || l.DiskBytes < 0 || l.DiskInodes < 0 || l.CPUShares < 0 || !(l.CPUQuota >= 0) || l.PIDs < 0 ||
		l.Bandwidth != nil && (l.Bandwidth.BytesPerSecond < 0 || l.Bandwidth.BurstBytes < 0) {
		return fmt.Errorf("a limit is negative: %w", container.ErrInvalid)
	}
	return nil
}

// NetIn reserves a port. Processes share the host's network, so both ports are one: they must be equal, or one of them
// zero.
func (c *box) NetIn(ctx context.Context, hostPort, containerPort uint16) (container.PortMapping, error) {
	m, err := c.netIn(ctx, hostPort, containerPort)
	if err != nil {
		return m, fmt.Errorf("map port %d to port %d of container %s: %w", hostPort, containerPort, c.handle, err)
	}
	return m, nil
}

func (c *box) netIn(ctx context.Context, hostPort, containerPort uint16) (none container.PortMapping, err error) {
	if err := c.usable(ctx); err != nil {
		return none, err
	}
	if hostPort == 0 {
		hostPort = containerPort
	}
	if containerPort != 0 && containerPort != hostPort {
		return none, fmt.Errorf("the ports differ: %w", container.ErrUnsupported)
	}
	var port *reservedPort
	if hostPort == 0 {
		port, err = c.b.ports.draw()
	} else {
		port, err = reservePort(hostPort)
	}
	if err != nil {
		return none, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err = c.present()
	if err == nil && c.state != container.StateActive {
		err = container.ErrStopped
	}
	if err != nil { // checked here, so that a Destroy that came between gives the port back
		port.release()
		return none, err
	}
	c.ports = append(c.ports, port)
	return container.PortMapping{HostPort: port.number, ContainerPort: port.number}, nil
}

// NetOut checks and remembers a rule.
func (c *box) NetOut(ctx context.Context, rule container.EgressRule) error {
	err := c.usable(ctx)
	if err == nil {
		err = rule.Validate()
	}
	if err != nil {
		return fmt.Errorf("allow traffic out of container %s: %w", c.handle, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != container.StateActive {
		return fmt.Errorf("allow traffic out of container %s: %w", c.handle, container.ErrStopped)
	}
	c.egress = append(c.egress, rule)
	return nil
}

// clues returns what is known about the processes of the container.
func (c *box) clues() clues {
	c.mu.Lock()
	defer c.mu.Unlock()
	running := map[int]uint64{}
	for _, p := range c.procs {
		if !p.gone {
			running[p.pid] = p.start
		}
	}
	return clues{
		marked:  func(marker string) bool { return marker == c.marker },
		since:   c.since,
		running: running,
		reaped:  maps.Clone(c.sessions),
	}
}

// members returns the processes of the container in a snapshot.
func (c *box) members(s *snapshot) []proc {
	known := c.clues()
	found := s.tree(known)
	c.mu.Lock()
	defer c.mu.Unlock()
	for sid, leader := range known.reaped {
		if leader.to < s.at && len(s.sessions[sid]) == 0 {
			delete(c.sessions, sid) // the session has ended
		}
	}
	return found
}

// Stop ends all processes.
func (c *box) Stop(ctx context.Context, kill bool) error {
	if err := c.usable(ctx); err != nil {
		return fmt.Errorf("stop container %s: %w", c.handle, err)
	}
	e := c.end(kill, "")
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop container %s: its processes are still being ended: %w", c.handle, ctx.Err())
	}
}

// end stops the container if it is not yet, and returns the work that ends its processes: with kill, at once. A container
// that was active is given the event, if there is one.
func (c *box) end(kill bool, event string) *ending {
	c.gate.Lock()
	defer c.gate.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending != nil {
		if kill {
			c.ending.hurry()
		}
		return c.ending
	}
	c.state = container.StateStopped
	if event != "" {
		c.events = append(c.events, event)
	}
	e := newEnding()
	if kill {
		e.hurry()
	}
	c.ending = e
	c.b.work.Go(func() {
		defer close(e.done)
		endAll(c.members, c.b.grace, e.now, c.b.log)
		c.settle()
	})
	return e
}

// settle waits until the children are reaped, and lets go of their output.
func (c *box) settle() {
	c.mu.Lock()
	procs := slices.Collect(maps.Values(c.procs))
	c.mu.Unlock()
	for _, p := range procs {
		<-p.exited
		p.out.release()
		p.errOut.release()
	}
}

// Destroy ends all processes and removes the container. When ctx ends first, the work goes on in the background.
func (c *box) Destroy(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("destroy container %s: %w", c.handle, err)
	}
	r, begun := c.destroy()
	if !begun {
		return fmt.Errorf("destroy container %s: %w", c.handle, container.ErrNotFound)
	}
	return c.await(ctx, r)
}

func (c *box) await(ctx context.Context, r *removal) error {
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("destroy container %s: it is still being removed: %w", c.handle, ctx.Err())
	}
}

// destroy begins the removal, or returns the one under way and false.
func (c *box) destroy() (*removal, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removal != nil {
		return c.removal, false
	}
	r := &removal{done: make(chan struct{})}
	c.removal = r
	c.b.work.Go(func() {
		defer close(r.done)
		if err := c.remove(); err != nil {
			r.err = fmt.Errorf("destroy container %s: %w", c.handle, err)
			c.b.log.Error("container could not be removed", "handle", c.handle, "error", err)
			c.mu.Lock()
			c.removal = nil // so that it can be tried again
			c.mu.Unlock()
		}
	})
	return r, true
}

func (c *box) remove() error {
	<-c.end(true, "").done
	c.cancel(container.ErrNotFound)
	if err := removeTree(c.b.depot, c.handle); err != nil {
		return err
	}
	if err := c.root.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	c.mu.Lock()
	ports := c.ports
	c.ports = nil
	c.mu.Unlock()
	for _, p := range ports {
		p.release()
	}
	c.b.forget(c)
	return nil
}
