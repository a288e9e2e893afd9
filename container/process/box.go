package process

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
	"github.com/deakit/deakit/internal/hostport"
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
	killed   bool // stopped without a grace time
	doomed   bool // Destroy was called
	events   []string
	limits   container.Limits
	ports    []*hostport.Port
	egress   []container.EgressRule
	procs    map[uint32]*process
	lastID   uint32
	sessions map[int]lifetime // that outlived their leaders, which ended
	cpuEnded time.Duration    // of processes that ended
	cpuKnown time.Duration    // the most that was ever measured
	touched  uint64           // ticks when a process was last started, ended or measured
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
		Limits:      containerkit.CloneLimits(c.limits),
		Properties:  maps.Clone(c.properties),
	}
	for _, p := range c.ports {
		info.Ports = append(info.Ports, container.PortMapping{HostPort: p.Number(), ContainerPort: p.Number()})
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
		err = containerkit.CheckLimits(limits)
	}
	if err != nil {
		return fmt.Errorf("limit container %s: %w", c.handle, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.limits
	c.limits = containerkit.CloneLimits(limits)
	if err := c.save(); err != nil {
		c.limits = before
		return fmt.Errorf("limit container %s: %w", c.handle, err)
	}
	return nil
}

// clues returns what is known about the processes of the container.
func (c *box) clues() clues {
	c.mu.Lock()
	defer c.mu.Unlock()
	running := map[int]uint64{}
	for _, p := range c.procs {
		if !p.gone {
			running[p.self.pid] = p.self.start
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
