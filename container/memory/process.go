package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/deakit/deakit/container"
)

// A Program is what a process does. Eight bits of its result are the exit status, unless a signal ended the process: then ctx
// ends, and the program has to return soon; Stop and Destroy wait for that. Goroutines that it starts end before it returns.
type Program func(ctx context.Context, p *Process) int

// A Process is what a [Program] sees of itself, and implements container.Process. Its spec is complete: with the whole
// environment, directory and user.
type Process struct {
	container.ProcessSpec

	// The streams are never nil. They fail when the process is to end.
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	c      *Container
	id     uint32
	cancel context.CancelCauseFunc // of the context of the program

	input       *io.PipeReader // nil if there is none
	out, errOut *stream        // the same one for one writer; nil if discarded

	exited, done chan struct{} // closed when the program has returned, and when all output is delivered too

	// What follows is guarded by c.mu.
	status  container.ExitStatus
	killed  syscall.Signal // that ended it, 0 if none
	gone    bool
	traps   map[syscall.Signal]chan syscall.Signal
	load    Load
	cpu     time.Duration // until settled
	settled time.Time
}

// ID implements container.Process.
func (p *Process) ID() uint32 { return p.id }

// Container returns the container that the process runs in.
func (p *Process) Container() *Container { return p.c }

// Files returns the files of the container.
func (p *Process) Files() *Files { return p.c.files }

// Getenv returns a variable of the environment, empty if there is none.
func (p *Process) Getenv(name string) string {
	for _, entry := range p.Env {
		if value, found := strings.CutPrefix(entry, name+"="); found {
			return value
		}
	}
	return ""
}

// Trap lets the program handle signals that would end the process, all but SIGKILL. They arrive on the channel, which
// keeps as many as there are kinds; more are lost.
func (p *Process) Trap(signals ...syscall.Signal) <-chan syscall.Signal {
	ch := make(chan syscall.Signal, len(signals))
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	for _, sig := range signals {
		p.traps[sig] = ch
	}
	return ch
}

// Wait implements container.Process.
func (p *Process) Wait(ctx context.Context) (container.ExitStatus, error) {
	select {
	case <-p.done:
		return p.status, nil // which nobody changes any more
	default:
	}
	select {
	case <-p.done:
		return p.status, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for process %d of container %s: %w", p.id, p.c.spec.Handle, ctx.Err())
	}
}

// await waits for the end of processes, not for the delivery of their output.
func await(ctx context.Context, procs []*Process) error {
	for _, p := range procs {
		select {
		case <-p.exited:
		case <-ctx.Done():
			return fmt.Errorf("process %d has not ended: %w", p.id, ctx.Err())
		}
	}
	return nil
}

// Signal implements container.Process. Signals that stop or continue a process do nothing, unless they are trapped.
func (p *Process) Signal(ctx context.Context, sig syscall.Signal) error {
	if err := p.c.b.begin(ctx, Signal, p.c.spec.Handle); err != nil {
		return fmt.Errorf("signal %d to process %d of container %s: %w", sig, p.id, p.c.spec.Handle, err)
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.take(sig)
	return nil
}

// take acts on a signal as the kernel does; c.mu is held.
func (p *Process) take(sig syscall.Signal) {
	if trap := p.traps[sig]; trap != nil && sig != syscall.SIGKILL {
		select {
		case trap <- sig:
		default:
		}
		return
	}
	switch sig {
	case 0, syscall.SIGCHLD, syscall.SIGURG, syscall.SIGWINCH, syscall.SIGCONT,
		syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU:
		return
	}
	if p.killed == 0 {
		p.killed = sig
	}
	p.cancel(fmt.Errorf("process ended by signal %d (%s)", sig, sig))
}

// errEnded is what the streams of an ended process fail with.
var errEnded = errors.New("process has ended")

// live is the life of the process. It runs in a goroutine of its own, until all output is delivered.
func (p *Process) live(ctx context.Context, program Program) {
	var pumps sync.WaitGroup
	for _, s := range p.streams() {
		pumps.Go(s.pump)
	}
	context.AfterFunc(ctx, p.closeStreams) // in any case; a program may wait for one of them
	code := program(ctx, p)
	p.end(code)
	p.cancel(errEnded)
	close(p.exited)
	pumps.Wait()
	close(p.done)
}

func (p *Process) end(code int) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.status, p.gone = container.ExitStatus(code&0xff), true
	if p.killed != 0 {
		p.status = container.ExitStatus(128 + p.killed)
	}
	p.settle(time.Now())
	p.c.cpu += p.cpu
}
