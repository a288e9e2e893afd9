package memory

import (
	"context"
	"time"

	"github.com/deakit/deakit/container"
)

// Load is what a process uses, as a test or a program says.
type Load struct {
	MemoryBytes int64
	DiskBytes   int64   // beyond what the files of the container hold
	Cores       float64 // processor time per time: 0.5 is half a core
}

// SetLoad says what the process uses from now on; it begins with nothing. When the processes of the container come to use
// more memory than its limit, it ends as by [Container.OutOfMemory].
func (p *Process) SetLoad(load Load) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.settle(time.Now())
	p.load = load
	p.c.watchMemory()
}

// settle adds the processor time until now; c.mu is held.
func (p *Process) settle(now time.Time) {
	p.cpu += time.Duration(p.load.Cores * float64(now.Sub(p.settled)))
	p.settled = now
}

// watchMemory ends the container when it uses more than its limit; c.mu is held.
func (c *Container) watchMemory() {
	if limit := c.info.Limits.MemoryBytes; limit > 0 && c.measure().MemoryBytes > limit {
		c.outOfMemory()
	}
}

// Usage implements container.Container: the loads of the processes that run, and the bytes of the files.
func (c *Container) Usage(ctx context.Context) (u container.Usage, err error) {
	err = c.do(ctx, Usage, func() error {
		u = c.measure()
		u.DiskBytes += c.files.size()
		return nil
	})
	return u, err
}

// measure adds up the loads; c.mu is held.
func (c *Container) measure() container.Usage {
	u := container.Usage{CPUTime: c.cpu, At: time.Now()}
	for _, p := range c.running() {
		p.settle(u.At)
		u.MemoryBytes += p.load.MemoryBytes
		u.DiskBytes += p.load.DiskBytes
		u.CPUTime += p.cpu
		u.Processes++
	}
	return u
}
