package warden

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
)

// Run starts a process. Its user is container.AppUser or root. Where the server runs containers without a root of their own,
// the program is a path of the host.
func (c *box) Run(ctx context.Context, spec container.ProcessSpec, pio container.IO) (container.Process, error) {
	p, err := c.run(ctx, spec, pio)
	if err != nil {
		return nil, c.fail(fmt.Sprintf("run %q in", spec.Path), err)
	}
	return p, nil
}

func (c *box) run(ctx context.Context, spec container.ProcessSpec, pio container.IO) (*clientProcess, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.foreign {
		return c.runForeign(ctx, spec, pio)
	}
	exchange, err := c.inside(ctx, ExchangeDir)
	if err != nil {
		return nil, err
	}
	ends, err := makePipes(filepath.Join(c.dir(), exchangeName), exchange, pio)
	if errors.Is(err, os.ErrNotExist) { // then the container is gone, too
		err = cmp.Or(c.present(ctx), err)
	}
	if err != nil {
		return nil, err
	}
	p := c.newProcess(spec.User == "root")
	script, err := startScript(c.snapshot(), spec, ends)
	if err == nil {
		err = p.spawn(ctx, script, spec.Rlimits)
	}
	if err != nil {
		ends.close()
		ends.remove()
		return nil, err
	}
	if err := p.begin(ctx, spec, pio, ends); err != nil {
		return nil, err
	}
	return p, nil
}

// runForeign starts a process in a container that has no exchange directory.
func (c *box) runForeign(ctx context.Context, spec container.ProcessSpec, pio container.IO) (*clientProcess, error) {
	if pio != (container.IO{}) {
		return nil, fmt.Errorf("streams, in a container that another client made: %w", container.ErrUnsupported)
	}
	if _, err := c.inside(ctx, "/"); err != nil {
		return nil, err
	}
	p := c.newProcess(spec.User == "root")
	script, err := startScript(c.snapshot(), spec, &pipes{})
	if err == nil {
		err = p.spawn(ctx, script, spec.Rlimits)
	}
	if err != nil {
		return nil, err
	}
	p.enter(0)
	return p, nil
}

// snapshot returns the record as it is now.
func (c *box) snapshot() record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.record
}

// spawn has the server start the script, and waits for its end in the background.
func (p *clientProcess) spawn(ctx context.Context, script string, limits container.Rlimits) error {
	request := &protocol.SpawnRequest{
		Handle: &p.c.handle, Script: &script, Privileged: &p.privileged, DiscardOutput: proto.Bool(true),
		Rlimits: &protocol.ResourceLimits{
			Nofile: limits.NoFile, Nproc: limits.NProc, Fsize: limits.FSize, Core: limits.Core, As: limits.AS, Cpu: limits.CPU,
			Stack: limits.Stack,
		},
	}
	r, err := quick[*protocol.SpawnResponse](ctx, p.c.b, request)
	if err != nil {
		return err
	}
	p.job = r.GetJobId()
	return p.follow()
}

// begin waits until the script has become the process, and connects its streams. ends are closed when it fails.
func (p *clientProcess) begin(ctx context.Context, spec container.ProcessSpec, pio container.IO, ends *pipes) error {
	said := make(chan string, 1)
	go func() {
		defer close(said)
		line, err := bufio.NewReader(io.LimitReader(ends.ctl, 4<<10)).ReadString('\n')
		if err == nil {
			said <- strings.TrimSuffix(line, "\n")
		}
	}()
	giveUp := func() {
		ends.release()
		for range said { // until it is read no more
		}
		ends.close()
		close(p.settled)
	}
	pid, err := p.awaitStart(ctx, spec, ends, said)
	switch {
	case err == nil:
		ends.release()
		p.connect(pio, ends)
		p.enter(pid)
	case ctx.Err() == nil:
		giveUp()
	default:
		late := func() {
			defer giveUp()
			p.killLate(said)
		}
		if p.c.b.fleet.Go(late) != nil {
			giveUp()
		}
	}
	return err
}

// awaitStart waits for what the script says.
func (p *clientProcess) awaitStart(ctx context.Context, spec container.ProcessSpec, ends *pipes, said <-chan string) (pid int, err error) {
	select {
	case line := <-said:
		return understandStart(line, spec)
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-p.ended:
	}
	// What it said, it said before.
	if _, err := ends.ctl.WriteString("\n"); err != nil {
		return 0, err
	}
	if line := <-said; line != "" {
		return understandStart(line, spec)
	}
	if err := p.c.active(ctx); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("the shell ended before it became the program: exit status %d", p.status)
}

// killLate kills a process that nobody wants any more, as soon as it is known by what number.
func (p *clientProcess) killLate(said <-chan string) {
	ctx := p.c.b.ctx
	select {
	case line := <-said:
		if pid, err := understandStart(line, container.ProcessSpec{}); err == nil {
			if err := p.kill(ctx, pid, syscall.SIGKILL); err != nil {
				p.c.b.log.Warn("warden.run.left-behind", "handle", p.c.handle, "job", p.job, "error", err)
			}
		}
	case <-p.ended:
	case <-ctx.Done():
	}
}
