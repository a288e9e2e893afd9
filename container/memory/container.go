package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/deakit/deakit/container"
)

// A Container is in memory. It implements container.Container; what else it can do is for tests, and for programs.
type Container struct {
	b     *Backend
	spec  container.Spec
	files *Files

	mu     sync.Mutex
	gone   bool
	graced bool           // SIGTERM was sent to all
	info   container.Info // but what changes by itself
	egress []container.EgressRule
	procs  []*Process    // the one with id n at n-1
	cpu    time.Duration // of those that have ended
}

var _ container.Container = (*Container)(nil)

func newContainer(b *Backend, spec container.Spec) *Container {
	const hostIP = "127.0.0.1"
	c := &Container{b: b, spec: spec, files: newFiles()}
	c.spec.Env, c.spec.BindMounts = slices.Clone(spec.Env), slices.Clone(spec.BindMounts)
	c.spec.Properties, c.spec.Limits = maps.Clone(spec.Properties), cloneLimits(spec.Limits)
	c.info = container.Info{
		State: container.StateActive, HostIP: hostIP, ContainerIP: hostIP, Limits: c.spec.Limits, Properties: c.spec.Properties,
	}
	return c
}

func cloneLimits(l container.Limits) container.Limits {
	if l.Bandwidth != nil {
		bandwidth := *l.Bandwidth
		l.Bandwidth = &bandwidth
	}
	return l
}

// Handle implements container.Container.
func (c *Container) Handle() string { return c.spec.Handle }

// Spec returns what Create was given, with the handle that was drawn. The caller must not change it.
func (c *Container) Spec() container.Spec { return c.spec }

// Files returns the files, which stay when the container is destroyed.
func (c *Container) Files() *Files { return c.files }

// Egress returns the rules that NetOut was given.
func (c *Container) Egress() []container.EgressRule {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.egress)
}

// Processes returns all processes since the container was made, also those that have ended, in the order of their ids.
func (c *Container) Processes() []*Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.procs)
}

// do is the frame of all calls: the hook; a look whether the container is there; and, under its lock, the work.
func (c *Container) do(ctx context.Context, call Call, work func() error) error {
	err := c.b.begin(ctx, call, c.spec.Handle)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if err = container.ErrNotFound; !c.gone {
			err = work()
		}
	}
	return c.wrap(call, err)
}

// doActive is do for what a stopped container refuses.
func (c *Container) doActive(ctx context.Context, call Call, work func() error) error {
	return c.do(ctx, call, func() error {
		if c.info.State != container.StateActive {
			return container.ErrStopped
		}
		return work()
	})
}

func (c *Container) wrap(call Call, err error) error {
	if err != nil {
		return fmt.Errorf("%s: container %s: %w", call, c.spec.Handle, err)
	}
	return nil
}

// Info implements container.Container. The host cannot see the files.
func (c *Container) Info(ctx context.Context) (info container.Info, err error) {
	err = c.do(ctx, Info, func() error {
		info = c.info
		info.Events, info.Ports = slices.Clone(info.Events), slices.Clone(info.Ports)
		info.Limits, info.Properties = cloneLimits(info.Limits), maps.Clone(info.Properties)
		for _, p := range c.running() {
			info.Processes = append(info.Processes, p.id)
		}
		return nil
	})
	return info, err
}

// SetLimits implements container.Container. A memory limit below what processes use ends the container.
func (c *Container) SetLimits(ctx context.Context, limits container.Limits) error {
	return c.do(ctx, SetLimits, func() error {
		if err := checkLimits(limits); err != nil {
			return err
		}
		c.info.Limits = cloneLimits(limits)
		c.watchMemory()
		return nil
	})
}

// NetIn implements container.Container. Nothing is reserved on the machine of the test.
func (c *Container) NetIn(ctx context.Context, hostPort, containerPort uint16) (m container.PortMapping, err error) {
	err = c.doActive(ctx, NetIn, func() error {
		if hostPort != 0 && containerPort != 0 && containerPort != hostPort {
			return fmt.Errorf("host port %d and container port %d differ: %w", hostPort, containerPort, container.ErrUnsupported)
		}
		port, err := c.b.takePort(max(hostPort, containerPort))
		if err != nil {
			return err
		}
		m = container.PortMapping{HostPort: port, ContainerPort: port}
		c.info.Ports = append(c.info.Ports, m)
		return nil
	})
	return m, err
}

// NetOut implements container.Container. Rules are checked and remembered.
func (c *Container) NetOut(ctx context.Context, rule container.EgressRule) error {
	return c.doActive(ctx, NetOut, func() error {
		err := rule.Validate()
		if err == nil {
			c.egress = append(c.egress, rule)
		}
		return err
	})
}

// Stop implements container.Container.
func (c *Container) Stop(ctx context.Context, kill bool) error {
	var procs []*Process
	err := c.do(ctx, Stop, func() error {
		procs = c.running()
		switch {
		case kill:
			c.end(syscall.SIGKILL)
		case !c.graced:
			c.graced = true
			c.end(syscall.SIGTERM)
			if len(procs) > 0 {
				go c.endGrace(procs, time.NewTimer(c.b.opts.StopGrace))
			}
		}
		return nil
	})
	if err == nil {
		err = c.wrap(Stop, await(ctx, procs))
	}
	return err
}

// endGrace kills what did not act on SIGTERM in time. It ends when all processes have, or with the grace time.
func (c *Container) endGrace(procs []*Process, timer *time.Timer) {
	defer timer.Stop()
	for _, p := range procs {
		select {
		case <-p.exited:
		case <-timer.C:
			c.mu.Lock()
			defer c.mu.Unlock()
			c.end(syscall.SIGKILL)
			return
		}
	}
}

// Destroy implements container.Container. If ctx ends before the programs return, it may be called again.
func (c *Container) Destroy(ctx context.Context) error {
	err := c.do(ctx, Destroy, func() error { return nil })
	if err == nil {
		err = c.wrap(Destroy, c.destroy(ctx))
	}
	return err
}

func (c *Container) destroy(ctx context.Context) error {
	c.mu.Lock()
	procs := c.running()
	c.end(syscall.SIGKILL)
	c.mu.Unlock()
	if err := await(ctx, procs); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return container.ErrNotFound
	}
	c.gone = true
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	delete(c.b.boxes, c.spec.Handle)
	for _, m := range c.info.Ports {
		delete(c.b.ports, m.HostPort)
	}
	return nil
}

// OutOfMemory does what becomes of a container above its memory limit: it is stopped, with container.EventOutOfMemory. It
// does not wait for the end of the processes.
func (c *Container) OutOfMemory() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outOfMemory()
}

func (c *Container) outOfMemory() {
	if c.info.State == container.StateActive {
		c.info.Events = append(c.info.Events, container.EventOutOfMemory)
		c.end(syscall.SIGKILL)
	}
}

// end stops the container: no process comes up any more, and those that run get a signal; c.mu is held.
func (c *Container) end(sig syscall.Signal) {
	c.info.State = container.StateStopped
	for _, p := range c.running() {
		p.take(sig)
	}
}

// running returns the processes that have not ended; c.mu is held.
func (c *Container) running() []*Process {
	return slices.DeleteFunc(slices.Clone(c.procs), func(p *Process) bool { return p.gone })
}
