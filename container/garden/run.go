package garden

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

// Run starts a process. The program is looked up by the server.
func (c *box) Run(ctx context.Context, spec container.ProcessSpec, pio container.IO) (container.Process, error) {
	p, err := c.run(ctx, spec, pio)
	if err != nil {
		return nil, c.fail(fmt.Sprintf("run %q in", spec.Path), err)
	}
	return p, nil
}

func (c *box) run(ctx context.Context, spec container.ProcessSpec, pio container.IO) (p *process, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := containerkit.CheckProcess(spec); err != nil {
		return nil, err
	}
	if !utf8.ValidString(strings.Join(spec.Args, "") + strings.Join(spec.Env, "") + spec.Path + spec.Dir) {
		return nil, fmt.Errorf("program, arguments, environment or directory: %w", ErrNotText)
	}
	err = c.whileActive(ctx, func() error {
		id, err := c.nextID(ctx)
		if err != nil {
			return err
		}
		r := spec.Rlimits
		p, err = c.launch(ctx, &processSpec{
			ID: strconv.FormatUint(uint64(id), 10), Path: spec.Path, Args: spec.Args, Env: containerkit.MergeEnv(spec.Env), Dir: spec.Dir,
			User: userOr(spec.User),
			Rlimits: resourceLimits{
				AS: r.AS, Core: r.Core, CPU: r.CPU, FSize: r.FSize, NoFile: r.NoFile, NProc: r.NProc, Stack: r.Stack,
			},
		}, pio)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.procs[p.id] = p
	return p, nil
}

// nextID draws the number of a process, and has it remembered before it is used.
func (c *box) nextID(ctx context.Context) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lastID == 0 {
		r, err := c.b.info(ctx, c.handle)
		if err != nil {
			return 0, err
		}
		if text, ok := r.Properties[lastProperty]; ok {
			last, err := strconv.ParseUint(text, 10, 32)
			if err != nil {
				return 0, fmt.Errorf("property %s: %w", lastProperty, err)
			}
			c.lastID = uint32(last)
		}
	}
	id := c.lastID + 1
	if err := c.setProperty(ctx, lastProperty, strconv.FormatUint(uint64(id), 10)); err != nil {
		return 0, err
	}
	c.lastID = id
	return id, nil
}

// launch starts a process and connects its streams.
func (c *box) launch(ctx context.Context, spec *processSpec, pio container.IO) (*process, error) {
	conn, err := c.post(ctx, spec)
	if err != nil {
		return nil, err
	}
	p := c.newProcess(conn)
	if err := p.follow(ctx, conn, pio); err != nil {
		c.abandon(conn)
		return nil, err
	}
	return p, nil
}

func (c *box) newProcess(conn *processConn) *process {
	p := &process{c: c, name: conn.processID, done: make(chan struct{})}
	if id, err := strconv.ParseUint(p.name, 10, 32); err == nil {
		p.id = uint32(id) // else it is none of the caller's
	}
	return p
}

// abandon kills a process that could not be connected to its streams.
func (c *box) abandon(conn *processConn) {
	err := c.b.fleet.Go(func() {
		defer conn.close()
		if err := conn.sendSignal(signalKill); err != nil {
			c.b.log.Warn("garden.run.left-behind", "handle", c.handle, "process", conn.processID, "error", err)
		}
	})
	if err != nil {
		conn.close()
	}
}

// post starts a process. When ctx ends before the server has answered, the process is killed as soon as it does.
func (c *box) post(ctx context.Context, spec *processSpec) (*processConn, error) {
	type answer struct {
		conn *processConn
		err  error
	}
	answers := make(chan answer)
	err := c.b.fleet.Go(func() {
		conn, err := c.b.client.openProcess(c.b.ctx, "POST", c.route("processes"), spec)
		select {
		case answers <- answer{conn, err}:
			return
		case <-ctx.Done():
		}
		if err == nil {
			defer conn.close()
			if err := conn.sendSignal(signalKill); err != nil {
				c.b.log.Warn("garden.run.left-behind", "handle", c.handle, "process", spec.ID, "error", err)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	select {
	case a := <-answers:
		return a.conn, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
