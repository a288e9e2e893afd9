package runc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/rootfs"
	"github.com/deakit/deakit/internal/containerkit"
	"github.com/deakit/deakit/internal/rmtree"
)

// removePatience is how long processes that were killed have to leave their control group.
const removePatience = 10 * time.Second

// A removal is the work of Destroy.
type removal struct {
	done chan struct{}
	err  error // valid after done is closed
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

// remove removes the container, also one of which only a part was made. It can be called again when it failed.
func (c *box) remove() error {
	// From now on a successor would not adopt it, but remove what is left.
	if err := c.b.depot.root.Remove(path.Join(c.handle, recordName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if c.statusWatch != 0 { // it began to live
		<-c.end(true, "").done
	} else if c.init.fd != nil {
		if err := c.init.kill(); err != nil {
			return err
		}
		c.init.wait()
	}
	c.cancel(container.ErrNotFound)
	c.unwatch()
	c.init.close()
	if c.slot != nil && c.b.net != nil {
		if err := c.b.net.Remove(c.slot.index); err != nil {
			return err
		}
	}
	if err := c.b.removeTraces(c.handle); err != nil {
		return err
	}
	if c.status != nil {
		c.status.Close()
	}
	c.mu.Lock()
	ports := c.ports
	c.ports = nil
	c.mu.Unlock()
	for _, p := range ports {
		p.Release()
	}
	if c.slot != nil {
		c.b.slots.release(c.slot)
	}
	c.b.fleet.Forget(c.handle, c)
	return nil
}

// removeTraces removes control group, mounts and files of a container of whatever state.
func (b *Backend) removeTraces(handle string) error {
	ctx, cancel := context.WithTimeout(context.Background(), removePatience)
	defer cancel()
	if err := b.endLost(ctx, handle); err != nil {
		return err
	}
	if err := b.groups.Group(b.groupPath(handle)).Remove(ctx); err != nil {
		return err
	}
	if err := rootfs.Unmount(b.depot.path(handle)); err != nil {
		return err
	}
	return errors.Join(
		rmtree.In(b.depot.root, handle),
		os.RemoveAll(b.depot.path(stateName, handle)), // what runc remembers; nobody else writes there
	)
}
