package warden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
	"github.com/deakit/deakit/internal/containerkit"
)

// A clientProcess is a process of a box: a job of the server.
type clientProcess struct {
	c          *box
	id         uint32
	job        uint32
	pid        int // as processes of the container know it; 0 is unknown
	privileged bool

	stdin       *os.File
	out, errOut *containerkit.Fanout // nil where output is discarded; the same one when both went to one writer at Run
	pumps       sync.WaitGroup
	following   sync.Once

	settled chan struct{} // closed when its streams are connected, or never will be
	ended   chan struct{} // closed when status and err are valid
	done    chan struct{} // closed when its output is delivered too
	status  container.ExitStatus
	err     error
}

func (c *box) newProcess(privileged bool) *clientProcess {
	return &clientProcess{
		c: c, privileged: privileged,
		settled: make(chan struct{}), ended: make(chan struct{}), done: make(chan struct{}),
	}
}

// restore makes a process of an earlier Backend known again.
func (c *box) restore(id uint32, r processRecord) *clientProcess {
	p := c.newProcess(r.Privileged)
	p.id, p.job, p.pid = id, r.Job, r.PID
	close(p.settled)
	if r.Status == nil && !r.Lost {
		return p
	}
	if r.Lost {
		p.status, p.err = -1, container.ErrStatusUnknown
	} else {
		p.status = container.ExitStatus(*r.Status)
	}
	p.following.Do(func() {}) // nothing is to be followed
	close(p.ended)
	close(p.done)
	return p
}

// connect connects the streams of a process that has opened its ends.
func (p *clientProcess) connect(pio container.IO, ends *pipes) {
	for which, f := range ends.out {
		if f == nil {
			continue
		}
		s := containerkit.NewFanout(f)
		if which == stdout {
			p.out = s
			s.Attach(pio.Stdout)
		} else {
			p.errOut = s
			s.Attach(pio.Stderr)
		}
		p.pumps.Go(func() { _ = s.Pump() }) // that we closed it is no news
	}
	if ends.joined {
		p.errOut = p.out
	}
	if p.stdin = ends.stdin; p.stdin != nil {
		go func() {
			_, _ = io.Copy(p.stdin, pio.Stdin) // a process need not read its input
			p.stdin.Close()
		}()
	}
}

// enter gives the process its number and remembers it.
func (p *clientProcess) enter(pid int) {
	p.pid = pid
	p.c.mu.Lock()
	p.c.lastID++
	p.id = p.c.lastID
	p.c.procs[p.id] = p
	p.c.mu.Unlock()
	p.save() // before watch saves the end, which must not be overwritten
	close(p.settled)
}

// save remembers the process.
func (p *clientProcess) save() {
	if p.c.foreign {
		return
	}
	r := processRecord{Job: p.job, PID: p.pid, Privileged: p.privileged}
	select {
	case <-p.ended:
		if errors.Is(p.err, ErrClosed) { // that the back end has ended says nothing of the process
			break
		}
		status := int(p.status)
		r.Status, r.Lost = &status, p.err != nil
		if r.Lost {
			r.Status = nil
		}
	default:
	}
	err := p.c.b.state.saveProcess(p.c.handle, p.id, r)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // the container was destroyed meanwhile
		p.c.b.log.Error("warden.process.not-saved", "handle", p.c.handle, "process", p.id, "error", err)
	}
}

// follow waits for the end of the process in the background, once.
func (p *clientProcess) follow() (err error) {
	p.following.Do(func() { err = p.c.b.fleet.Go(p.watch) })
	return err
}

func (p *clientProcess) watch() {
	ctx := p.c.b.ctx
	p.status, p.err = p.link(ctx)
	close(p.ended)
	<-p.settled
	stop := context.AfterFunc(ctx, p.closeStreams)
	p.pumps.Wait()
	stop()
	if p.stdin != nil {
		p.stdin.Close() // whatever the input, nobody reads it any more
	}
	if p.id != 0 && !errors.Is(p.err, ErrClosed) {
		p.save()
	}
	close(p.done)
}

// closeStreams ends the reading of output.
func (p *clientProcess) closeStreams() {
	p.out.Close()
	p.errOut.Close()
}

// link asks for the exit status until there is an answer.
func (p *clientProcess) link(ctx context.Context) (container.ExitStatus, error) {
	var pause backoff
	for {
		r, err := call[*protocol.LinkResponse](ctx, p.c.b.conns, &protocol.LinkRequest{Handle: &p.c.handle, JobId: &p.job})
		switch {
		case err == nil && r.ExitStatus == nil:
			return -1, container.ErrStatusUnknown
		case err == nil:
			return container.ExitStatus(r.GetExitStatus()), nil
		case ctx.Err() != nil:
			return -1, ErrClosed
		case !errors.Is(err, ErrConnection):
			return -1, fmt.Errorf("%w: %w", container.ErrStatusUnknown, err)
		}
		if pause.wait(ctx) != nil {
			return -1, ErrClosed
		}
	}
}

// ID numbers the process within its container.
func (p *clientProcess) ID() uint32 { return p.id }

// Wait waits for the end of the process, also while the server cannot be reached. The error is
// container.ErrStatusUnknown when the server forgot the process, and ErrClosed after Close.
func (p *clientProcess) Wait(ctx context.Context) (container.ExitStatus, error) {
	if err := containerkit.Await(ctx, p.done); err != nil {
		return 0, fmt.Errorf("wait for process %d of container %s: %w", p.id, p.c.handle, err)
	}
	if p.err != nil {
		return -1, fmt.Errorf("wait for process %d of container %s: %w", p.id, p.c.handle, p.err)
	}
	return p.status, nil
}

// Signal starts a process that sends the signal.
func (p *clientProcess) Signal(ctx context.Context, sig syscall.Signal) error {
	err := ctx.Err()
	if err == nil {
		err = p.signal(ctx, sig)
	}
	if err != nil {
		return fmt.Errorf("signal %d to process %d of container %s: %w", sig, p.id, p.c.handle, err)
	}
	return nil
}

func (p *clientProcess) signal(ctx context.Context, sig syscall.Signal) error {
	if p.pid <= 0 {
		return fmt.Errorf("its number is not known: %w", container.ErrUnsupported)
	}
	return p.kill(ctx, p.pid, sig)
}

// kill sends a signal to the process group pid, which the process leads, if the process has not ended.
func (p *clientProcess) kill(ctx context.Context, pid int, sig syscall.Signal) error {
	runs, err := p.runs(ctx)
	if err != nil || !runs {
		return err
	}
	r, err := p.c.script(ctx, fmt.Sprintf("kill -%d -- -%d", sig, pid), p.privileged)
	if err == nil && r.GetExitStatus() != 0 {
		if runs, err = p.runs(ctx); err == nil && runs {
			err = fmt.Errorf("%.200s", r.GetStderr())
		}
	}
	if errors.Is(err, container.ErrStopped) || errors.Is(err, container.ErrNotFound) { // it has ended, or is about to
		return nil
	}
	return err
}

// runs tells whether the process has not ended.
func (p *clientProcess) runs(ctx context.Context) (bool, error) {
	select {
	case <-p.ended:
		return false, nil
	default:
	}
	r, err := p.c.b.info(ctx, p.c.handle)
	if errors.Is(err, container.ErrNotFound) {
		return false, nil
	}
	for _, id := range r.GetJobIds() {
		if id == uint64(p.job) {
			return true, err
		}
	}
	return false, err
}

// Attach finds a process that Run started. Output of one that an earlier Backend started is lost.
func (c *box) Attach(ctx context.Context, id uint32, pio container.IO) (container.Process, error) {
	p, err := c.attach(ctx, id, pio)
	if err != nil {
		return nil, c.fail(fmt.Sprintf("attach to process %d of", id), err)
	}
	return p, nil
}

func (c *box) attach(ctx context.Context, id uint32, pio container.IO) (*clientProcess, error) {
	if err := c.present(ctx); err != nil {
		return nil, err
	}
	if pio.Stdin != nil {
		return nil, fmt.Errorf("with an input: %w", container.ErrUnsupported)
	}
	c.mu.Lock()
	p, ok := c.procs[id]
	c.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("no such process: %w", container.ErrNotFound)
	}
	if err := p.follow(); err != nil {
		return nil, err
	}
	containerkit.AttachBoth(p.out, p.errOut, pio.Stdout, pio.Stderr)
	return p, nil
}
