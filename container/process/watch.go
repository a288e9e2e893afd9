package process

import (
	"context"
	"time"

	"github.com/deakit/deakit/container"
)

// watch looks at the memory of containers that have a limit, until ctx ends.
func (b *Backend) watch(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.enforceMemory()
		}
	}
}

// enforceMemory stops the containers that use more memory than they may. One look at the process table serves all.
func (b *Backend) enforceMemory() {
	limited := map[*box]int64{}
	for _, c := range b.fleet.All() {
		if limit, ok := c.memoryLimit(); ok {
			limited[c] = limit
		}
	}
	if len(limited) == 0 {
		return
	}
	s, err := b.snapshot()
	if err != nil {
		b.log.Warn("memory of containers could not be measured", "error", err)
		return
	}
	defer s.close()
	for c, limit := range limited {
		if used := s.memory(c.members(s)); used > limit {
			b.log.Info("container is out of memory", "handle", c.handle, "used_bytes", used, "limit_bytes", limit)
			c.end(true, container.EventOutOfMemory)
		}
	}
}

func (c *box) memoryLimit() (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limits.MemoryBytes, c.limits.MemoryBytes > 0 && c.state == container.StateActive && c.removal == nil
}
