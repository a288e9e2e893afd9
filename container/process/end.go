package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

// Stop ends all processes.
func (c *box) Stop(ctx context.Context, kill bool) error {
	if err := c.usable(ctx); err != nil {
		return fmt.Errorf("stop container %s: %w", c.handle, err)
	}
	if err := containerkit.Await(ctx, c.end(kill, "").done); err != nil {
		return fmt.Errorf("stop container %s: its processes are still being ended: %w", c.handle, err)
	}
	return nil
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
	c.state, c.killed = container.StateStopped, kill
	if event != "" {
		c.events = append(c.events, event)
	}
	if err := c.save(); err != nil { // a reason not to end them it is not
		c.b.log.Error("container is being stopped, which a later back end will not know", "handle", c.handle, "error", err)
	}
	return c.beginEnding(kill)
}

// beginEnding ends the processes in the background. c.mu is held.
func (c *box) beginEnding(kill bool) *ending {
	e := newEnding()
	if kill {
		e.hurry()
	}
	c.ending = e
	c.b.work.Go(func() {
		defer close(e.done)
		c.b.endAll(c.members, c.b.grace, e.now)
		c.settle()
	})
	return e
}

// settle waits until it is known how all processes ended, and lets go of their output.
func (c *box) settle() {
	c.mu.Lock()
	procs := slices.Collect(maps.Values(c.procs))
	c.mu.Unlock()
	for _, p := range procs {
		p.settle()
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
	if err := containerkit.Await(ctx, r.done); err != nil {
		return fmt.Errorf("destroy container %s: it is still being removed: %w", c.handle, err)
	}
	return r.err
}

// destroy begins the removal, or returns the one under way and false.
func (c *box) destroy() (*removal, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removal != nil {
		return c.removal, false
	}
	r := &removal{done: make(chan struct{})}
	c.removal, c.doomed = r, true
	if err := c.save(); err != nil {
		c.b.log.Error("container is being removed, which a later back end will not know", "handle", c.handle, "error", err)
	}
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
		p.Release()
	}
	c.b.fleet.Forget(c.handle, c)
	return nil
}
