package runc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/supervisor"
	"github.com/deakit/deakit/internal/containerkit"
)

// An ending is the work of ending all processes of a container. It is begun once and may be hurried.
type ending struct {
	hurry func()        // KILL now; may be called any number of times
	now   chan struct{} // closed by hurry
	done  chan struct{} // closed when no process is left and all ends are noted, or when we let go of the container
}

func newEnding() *ending {
	now := make(chan struct{})
	return &ending{hurry: sync.OnceFunc(func() { close(now) }), now: now, done: make(chan struct{})}
}

const (
	againAfter    = time.Second            // between one SIGTERM and the next (Warden)
	reapPatience  = 250 * time.Millisecond // for the supervisor to end and note all others
	complainAfter = 5 * time.Second
)

// Stop ends all processes. SIGTERM is repeated every second, for those that came late to handle it.
func (c *box) Stop(ctx context.Context, kill bool) error {
	if err := c.usable(ctx); err != nil {
		return fmt.Errorf("stop container %s: %w", c.handle, err)
	}
	if err := containerkit.Await(ctx, c.end(kill, "").done); err != nil {
		return fmt.Errorf("stop container %s: its processes are still being ended: %w", c.handle, err)
	}
	if !c.hasEnded() { // we let go of it
		return fmt.Errorf("stop container %s: %w", c.handle, ErrClosed)
	}
	return nil
}

// end stops the container if it is not yet, and returns the work that ends its processes: with kill, at once. A container
// that was active is given the event, if there is one.
func (c *box) end(kill bool, event string) *ending {
	c.refuse(container.ErrStopped)
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
	if c.removal == nil {
		if err := c.save(); err != nil {
			c.b.log.Error("a container is stopped, which could not be written down", "handle", c.handle, "error", err)
		}
	}
	return c.beginEnding()
}

// beginEnding begins the work. c.mu is held.
func (c *box) beginEnding() *ending {
	e := newEnding()
	if c.killed {
		e.hurry()
	}
	c.ending = e
	c.b.work.Go(func() {
		defer close(e.done)
		c.endAll(e.now)
		c.settle()
	})
	return e
}

// endAll ends the processes: it asks the supervisor to pass on SIGTERM, and ends that when the time is over or now is
// closed.
func (c *box) endAll(now <-chan struct{}) {
	grace := time.NewTimer(c.b.opts.StopGrace)
	defer grace.Stop()
	again := time.NewTicker(againAfter)
	defer again.Stop()
	for {
		select {
		case <-c.ended:
			return
		case <-c.left:
			return
		case <-now:
			c.killAll()
			return
		default:
		}
		c.terminate()
		select {
		case <-c.ended:
		case <-c.left:
		case <-again.C:
		case <-now:
		case <-grace.C:
			c.killAll()
			return
		}
	}
}

// terminate sends SIGTERM to all processes; a stopped one could not act on it.
func (c *box) terminate() {
	ctx, cancel := context.WithTimeout(context.Background(), againAfter)
	defer cancel()
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGCONT} {
		if err := c.client.End(ctx, sig); err != nil && !errors.Is(err, supervisor.ErrGone) {
			c.b.log.Warn("processes could not be told to end", "handle", c.handle, "error", err)
		}
	}
}

// killAll kills all processes. The supervisor is asked to, which notes how those ended that had come to it before; where
// it does not get to do so, it is killed, and the kernel kills all others with it.
func (c *box) killAll() {
	ctx, cancel := context.WithTimeout(context.Background(), reapPatience)
	defer cancel()
	if err := c.client.End(ctx, unix.SIGKILL); err == nil {
		select {
		case <-c.ended:
			return
		case <-c.left:
			return
		case <-ctx.Done():
		}
	}
	if err := c.init.kill(); err != nil {
		c.b.log.Error("a container could not be killed", "handle", c.handle, "error", err)
	}
	complain := time.AfterFunc(complainAfter, func() {
		c.b.log.Warn("a process does not end although it was killed", "handle", c.handle)
	})
	defer complain.Stop()
	select {
	case <-c.ended:
	case <-c.left:
	}
}

// settle lets go of the output of all processes, which have ended.
func (c *box) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range slices.Collect(maps.Values(c.procs)) {
		for _, s := range p.streams {
			s.Release()
		}
	}
}

// letGo ends all that goes on here about the container, which lives on. Only the first call does anything.
func (c *box) letGo() { c.leaving.Do(c.letGoOnce) }

func (c *box) letGoOnce() {
	close(c.left)
	c.cancel(ErrClosed)
	c.refuse(ErrClosed)
	c.unwatch()
	c.init.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.procs {
		for _, s := range p.streams {
			s.Close()
		}
	}
	for _, p := range c.ports {
		p.Release()
	}
	c.slot.letGo()
	c.status.Close()
}
