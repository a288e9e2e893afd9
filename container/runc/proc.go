package runc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/supervisor"
	"github.com/deakit/deakit/internal/containerkit"
)

// killedStatus is that of a process that the kernel killed because its container ended: the number of the signal.
const killedStatus = syscall.WaitStatus(syscall.SIGKILL)

// A process is one that Run started, of this back end or of an earlier one.
type process struct {
	box  *box
	id   uint32
	gone bool // guarded by box.mu

	stdin       *os.File             // our end, nil if there is none
	out, errOut *containerkit.Fanout // the same one when both went to one writer at Run; nil if discarded
	streams     []*stream            // behind them

	exited chan struct{} // closed when its end is known
	done   chan struct{} // closed when its output is delivered too
	status container.ExitStatus
}

func newProcess(c *box, id uint32) *process {
	return &process{box: c, id: id, exited: make(chan struct{}), done: make(chan struct{})}
}

func (p *process) ID() uint32 { return p.id }

func (p *process) Wait(ctx context.Context) (container.ExitStatus, error) {
	select {
	case <-p.done:
		return p.status, nil
	default:
	}
	select {
	case <-p.done:
		return p.status, nil
	case <-p.box.left:
		return 0, fmt.Errorf("wait for process %d of container %s: %w", p.id, p.box.handle, ErrClosed)
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for process %d of container %s: %w", p.id, p.box.handle, ctx.Err())
	}
}

// Signal lets the supervisor send the signal, so that it reaches this process or none.
func (p *process) Signal(ctx context.Context, sig syscall.Signal) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	default:
	}
	err := p.box.client.Signal(ctx, p.id, sig)
	if err == nil || errors.Is(err, supervisor.ErrGone) {
		return nil
	}
	return fmt.Errorf("signal %d to process %d of container %s: %w", sig, p.id, p.box.handle, err)
}

// follow delivers the output of the process. It runs in a goroutine of its own from start to end of the process.
func (p *process) follow() {
	var pumps sync.WaitGroup
	for _, s := range p.streams {
		pumps.Go(s.pump)
	}
	select {
	case <-p.exited:
	case <-p.box.left:
	}
	pumps.Wait()
	if p.stdin != nil {
		p.stdin.Close() // whatever the input, nobody reads it any more
	}
	select {
	case <-p.exited:
		close(p.done)
	default: // we let go of the container
	}
}

// finish notes the end of the process, once.
func (p *process) finish(wait syscall.WaitStatus) {
	p.box.mu.Lock()
	defer p.box.mu.Unlock()
	if p.gone {
		return
	}
	p.gone = true
	p.status = exitStatus(wait)
	close(p.exited)
}

// collect notes the ends of processes that the supervisor wrote down. When the supervisor has ended too, which is last,
// all others have ended with it: the kernel killed them.
func (c *box) collect(all bool) {
	c.mu.Lock()
	running := slices.DeleteFunc(slices.Collect(maps.Values(c.procs)), func(p *process) bool { return p.gone })
	c.mu.Unlock()
	for _, p := range running {
		st, err := c.status.Read(p.id)
		if err != nil && !errors.Is(err, os.ErrClosed) {
			c.b.log.Error("the status of a process cannot be read", "handle", c.handle, "process", p.id, "error", err)
		}
		switch {
		case st.Ended:
			p.finish(st.Wait)
		case all:
			p.finish(killedStatus)
		}
	}
}

func exitStatus(wait syscall.WaitStatus) container.ExitStatus {
	if wait.Signaled() {
		return 128 + container.ExitStatus(wait.Signal())
	}
	return container.ExitStatus(wait.ExitStatus())
}

// feed copies the input. The goroutine ends when the input does, or when it next has something after the process has
// ended: a reader that blocks is the caller's to close.
func (p *process) feed(stdin io.Reader) {
	_, _ = io.Copy(p.stdin, stdin) // a process need not read its input
	_ = p.stdin.Close()
}
