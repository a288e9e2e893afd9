package process

import (
	"context"
	"fmt"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/diskusage"
)

// Usage measures the container. Memory is the resident memory that its processes have for themselves, plus the largest
// part that one of them shares: so a library that all of them map counts once. Disk is what its files occupy; a file
// system mounted there and what lies behind bind mounts do not count. The processor time of orphans that ended
// unobserved is not known. Processes that others of the container made are counted when they are half a second old.
func (c *box) Usage(ctx context.Context) (container.Usage, error) {
	u, err := c.usage(ctx)
	if err != nil {
		return u, fmt.Errorf("measure container %s: %w", c.handle, err)
	}
	return u, nil
}

func (c *box) usage(ctx context.Context) (container.Usage, error) {
	var u container.Usage
	if err := c.usable(ctx); err != nil {
		return u, err
	}
	s, err := c.b.recent(c.lastTouch())
	if err != nil {
		return u, err
	}
	defer s.close()
	u.At = s.read
	members := c.members(s)
	u.MemoryBytes = s.memory(members)
	u.CPUTime = c.cpuTime(members)
	for _, p := range members {
		if p.alive() {
			u.Processes++
		}
	}
	dir, err := c.root.Open(".")
	if err != nil {
		return u, err
	}
	u.DiskBytes, err = diskusage.Of(ctx, dir)
	return u, err
}

// lastTouch returns after when a table must have been read to be of use for the next measurement.
func (c *box) lastTouch() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.touched
}

func (s *snapshot) memory(members []proc) int64 {
	var sum, largest int64
	for _, p := range members {
		own, shared := s.fs.memory(p.pid)
		sum += own
		largest = max(largest, shared)
	}
	return sum + largest
}

// cpuTime adds the processor time of the members to that of the processes that ended so far. A process counts as one of
// both exactly once, also when it is found to have ended between snapshot and now. The sum never goes back: what an orphan
// used is lost from sight when it ends.
func (c *box) cpuTime(members []proc) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := c.cpuEnded
	gone := map[int]uint64{}
	for _, p := range c.procs {
		if p.gone {
			gone[p.self.pid] = max(gone[p.self.pid], p.self.start)
		}
	}
	for _, p := range members {
		if start, counted := gone[p.pid]; !counted || start != p.start {
			sum += time.Duration(p.cpu) * (time.Second / ticksPerSecond)
		}
	}
	c.cpuKnown = max(c.cpuKnown, sum)
	c.touched = ticksNow() // what grew meanwhile is for the next one
	return c.cpuKnown
}
