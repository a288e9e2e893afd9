package garden

import (
	"context"
	"fmt"
	"strconv"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

// Attach finds a process that Run started.
func (c *box) Attach(ctx context.Context, id uint32, pio container.IO) (container.Process, error) {
	p, err := c.attach(ctx, id, pio)
	if err != nil {
		return nil, c.fail(fmt.Sprintf("attach to process %d of", id), err)
	}
	return p, nil
}

func (c *box) attach(ctx context.Context, id uint32, pio container.IO) (*process, error) {
	if _, err := c.b.info(ctx, c.handle); err != nil {
		return nil, err
	}
	if pio.Stdin != nil {
		return nil, fmt.Errorf("with an input: %w", container.ErrUnsupported)
	}
	c.mu.Lock()
	known := c.procs[id]
	c.mu.Unlock()
	if known != nil && known.holds(pio) {
		return known, nil
	}
	conn, err := c.b.client.openProcess(ctx, "GET", c.route("processes", strconv.FormatUint(uint64(id), 10)), nil)
	if err != nil {
		return nil, err
	}
	p := c.newProcess(conn)
	p.id = id
	if err := p.follow(ctx, conn, pio); err != nil {
		conn.close()
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known == nil || known.ended() {
		c.procs[id] = p
	}
	return p, nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// holds attaches the writers to the streams that there are, and tells whether that was enough: the process has not ended
// unseen, and no stream is wanted that was discarded.
func (p *process) holds(pio container.IO) bool {
	if p.ended() {
		return p.err == nil
	}
	if pio.Stdout != nil && p.out == nil || pio.Stderr != nil && p.errOut == nil {
		return false
	}
	containerkit.AttachBoth(p.out, p.errOut, pio.Stdout, pio.Stderr)
	return true
}
