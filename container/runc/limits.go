package runc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/cgroup"
	"github.com/deakit/deakit/internal/containerkit"
)

// SetLimits replaces the limits. A limit of inodes is only enforced as Options.Disk tells. When one of them cannot be set,
// those before it in the order of container.Limits are in force, and Info reports what was before.
func (c *box) SetLimits(ctx context.Context, limits container.Limits) error {
	if err := c.setLimits(ctx, limits); err != nil {
		return fmt.Errorf("limit container %s: %w", c.handle, err)
	}
	return nil
}

func (c *box) setLimits(ctx context.Context, limits container.Limits) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	if err := containerkit.CheckLimits(limits); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.present(); err != nil {
		return err
	}
	if err := c.group().SetLimits(c.groupLimits(limits)); err != nil {
		return err
	}
	if err := c.disk.SetLimits(c.b.disk, limits); err != nil {
		return err
	}
	if c.b.net != nil && c.state == container.StateActive {
		if err := c.b.net.SetBandwidth(c.slot.index, c.init.pid, limits.Bandwidth); err != nil {
			return err
		}
	}
	before := c.limits
	c.limits = containerkit.CloneLimits(limits)
	if err := c.save(); err != nil {
		c.limits = before
		return err
	}
	return nil
}

// groupLimits are those of the control group, in which the supervisor is too.
func (c *box) groupLimits(l container.Limits) cgroup.Limits {
	limits := cgroup.Limits{MemoryBytes: l.MemoryBytes, CPUShares: l.CPUShares, CPUQuota: l.CPUQuota, PIDs: l.PIDs}
	if limits.PIDs == 0 {
		limits.PIDs = max(c.b.opts.MaxPIDs, 0)
	}
	if limits.PIDs > 0 {
		limits.PIDs++
	}
	return limits
}

// processLimit returns the limit of processes of a user, where no control group limits those of the container. It is good
// for the app user, whom no other container has; root is the caller, who may have any number.
func (c *box) processLimit(asked *uint64, user account) *uint64 {
	if !c.b.ids.Inside || c.b.groups.Has("pids") || c.b.slots.shared() || user.uid == 0 {
		return asked
	}
	c.mu.Lock()
	limit := c.limits.PIDs
	c.mu.Unlock()
	if limit == 0 {
		limit = max(c.b.opts.MaxPIDs, 0)
	}
	if limit == 0 || asked != nil && *asked < uint64(limit) {
		return asked
	}
	n := uint64(limit)
	return &n
}

// beginOOM begins to notice shortages of memory.
func (c *box) beginOOM() (err error) {
	hint := func() {
		select {
		case c.shortage <- struct{}{}:
		default: // there is a hint already
		}
	}
	if file, ok := c.group().OOMFile(); ok {
		c.oomWatch, err = c.b.files.add(file, hint)
		return err
	}
	if c.oom, err = c.group().WatchOOM(); err != nil || c.oom == nil {
		return err
	}
	c.b.work.Go(func() {
		for c.oom.Next() == nil {
			hint()
		}
	})
	return nil
}

// The kernel tells that memory is short before it ends a process, and nothing when it has; so one looks for a while.
const (
	oomLooks = 100
	oomPause = 10 * time.Millisecond
)

// watchOOM stops the container when the kernel ended one of its processes for want of memory.
func (c *box) watchOOM() {
	for looks := 1; ; looks = oomLooks { // there may be news from before the watch began
		for ; looks > 0; looks-- {
			if c.outOfMemory() {
				c.b.log.Info("container is out of memory", "handle", c.handle)
				c.end(false, container.EventOutOfMemory)
				return
			}
			if !c.sleep(oomPause) {
				return
			}
		}
		select {
		case <-c.left:
			return
		case <-c.ended:
			return
		case <-c.shortage:
		}
	}
}

// sleep returns false when there is no reason left to wait.
func (c *box) sleep(d time.Duration) bool {
	select {
	case <-c.left:
		return false
	case <-c.ended:
		return false
	case <-time.After(d):
		return true
	}
}

func (c *box) outOfMemory() bool {
	n, err := c.group().OOMKills()
	return err == nil && n > 0
}

// Usage measures the container: memory as the DEA counts it, disk as the writable layer takes it.
func (c *box) Usage(ctx context.Context) (container.Usage, error) {
	u, err := c.usage(ctx)
	if err != nil {
		return u, fmt.Errorf("measure container %s: %w", c.handle, err)
	}
	return u, nil
}

func (c *box) usage(ctx context.Context) (u container.Usage, err error) {
	if err := c.usable(ctx); err != nil {
		return u, err
	}
	if !c.b.groups.Has("memory") {
		return c.usageByProcesses(ctx)
	}
	group := c.group()
	pids, err := group.Processes()
	if err != nil {
		return u, err
	}
	for _, pid := range pids {
		if pid != c.init.pid {
			u.Processes++
		}
	}
	var memoryErr, cpuErr, diskErr error
	u.MemoryBytes, memoryErr = group.Memory()
	u.CPUTime, cpuErr = group.CPUTime()
	u.DiskBytes, diskErr = c.disk.Used(ctx)
	u.At = time.Now()
	if err := errors.Join(memoryErr, cpuErr, diskErr); err != nil {
		if gone := c.usable(ctx); gone != nil { // destroyed meanwhile
			return u, gone
		}
		return u, err
	}
	return u, nil
}
