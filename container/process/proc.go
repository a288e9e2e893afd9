package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

// keeperPatience is how long a supervisor has to say that its process has ended.
const keeperPatience = time.Second

// A process is one that Run started, of this back end or of an earlier one.
type process struct {
	box    *box
	id     uint32
	self   identity
	keeper identity // the supervisor; zero if it has none
	gone   bool     // guarded by box.mu

	stdin       *os.File               // our end, nil if there is none
	out, errOut *containerkit.Fanout   // the same one when both went to one writer at Run; nil if discarded, or of an earlier back end
	outputs     []*containerkit.Output // behind them

	child *os.Process // the supervisor, or else the process itself; nil if an earlier back end started it
	life  *os.File    // its process file; closed when it has ended

	exited chan struct{} // closed when its end is known
	done   chan struct{} // closed when its output is delivered too
	status container.ExitStatus
	err    error // status is not known
}

func newProcess(c *box) *process {
	return &process{box: c, exited: make(chan struct{}), done: make(chan struct{})}
}

func (p *process) ID() uint32 { return p.id }

func (p *process) Wait(ctx context.Context) (container.ExitStatus, error) {
	if err := containerkit.Await(ctx, p.done); err != nil {
		return 0, fmt.Errorf("wait for process %d of container %s: %w", p.id, p.box.handle, err)
	}
	return p.status, p.err
}

func (p *process) Signal(ctx context.Context, sig syscall.Signal) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.box.mu.Lock()
	gone := p.gone
	p.box.mu.Unlock()
	if gone {
		return nil
	}
	now, there, err := find(p.self)
	if there && now.sid == p.self.pid {
		// It leads its session, so that it cannot leave its process group.
		err = unix.Kill(-p.self.pid, sig)
	}
	if err == nil || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return fmt.Errorf("signal %d to process %d of container %s: %w", sig, p.id, p.box.handle, err)
}

// follow collects the process and its output. It runs in a goroutine of its own from start to end of the process.
func (p *process) follow() {
	var pumps sync.WaitGroup
	for _, out := range p.outputs {
		pumps.Go(func() { _ = out.Pump() }) // that it was closed, or released, is no news
	}
	p.finish(p.await())
	if p.child == nil {
		p.box.holdPorts() // its supervisor had them
	}
	close(p.exited)
	pumps.Wait()
	if p.stdin != nil {
		p.stdin.Close() // whatever the input, nobody reads it any more
	}
	close(p.done)
}

// await returns when the process has ended.
func (p *process) await() life {
	switch {
	case p.child == nil:
		awaitEnd(p.keeper, p.box.b.log)
	case p.keeper == identity{}:
		return p.reap()
	default:
		if _, err := p.child.Wait(); err != nil {
			p.box.b.log.Warn("a supervisor could not be reaped", "handle", p.box.handle, "process", p.id, "error", err)
		}
	}
	if l := readLife(p.life); l.ended {
		return l
	}
	awaitEnd(p.self, p.box.b.log) // it lost its supervisor, or never had one
	return readLife(p.life)
}

// reap collects a process that is our child, and writes its end down for a successor.
func (p *process) reap() life {
	awaitExit(p.child.Pid)
	at := ticksNow() // before the number is free
	state, err := p.child.Wait()
	if err != nil {
		p.box.b.log.Warn("a process could not be reaped", "handle", p.box.handle, "process", p.id, "error", err)
		return life{}
	}
	l := life{ended: true, death: deathOf(state, at)}
	if err := note(p.life, l.death); err != nil {
		p.box.b.log.Warn("exit status of a process could not be written down", "handle", p.box.handle, "process", p.id, "error", err)
	}
	return l
}

// finish notes the end of the process.
func (p *process) finish(l life) {
	c := p.box
	c.mu.Lock()
	defer c.mu.Unlock()
	p.gone = true
	c.touched = ticksNow()
	p.life.Close()
	if !l.ended {
		p.status = -1
		p.err = fmt.Errorf("wait for process %d of container %s: nobody saw it end: %w", p.id, c.handle, container.ErrStatusUnknown)
		c.b.log.Warn("exit status of a process is lost", "handle", c.handle, "process", p.id)
		return
	}
	p.status = l.status()
	c.cpuEnded += l.cpu()
	c.sessions[p.self.pid] = lifetime{p.self.start, l.at()}
}

// feed copies the input. The goroutine ends when the input does, or when it next has something after the process has
// ended: a reader that blocks is the caller's to close.
func (p *process) feed(stdin io.Reader) {
	_, _ = io.Copy(p.stdin, stdin) // a process need not read its input
	_ = p.stdin.Close()
}

// settle returns when the end of the process is known, which is when all processes of the container are gone; its output
// need not be delivered. A supervisor that does not get on, because someone stopped it, is ended.
func (p *process) settle() {
	patience := time.NewTimer(keeperPatience)
	defer patience.Stop()
	select {
	case <-p.exited:
	case <-patience.C:
		p.box.b.log.Warn("ending a supervisor that does not tell how its process ended", "handle", p.box.handle, "process", p.id)
		killOne(p.keeper, p.box.b.log)
		<-p.exited
	}
	for _, out := range p.outputs {
		out.Release()
	}
}
