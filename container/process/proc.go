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
)

// A process is a child that Run started.
type process struct {
	box   *box
	id    uint32
	pid   int
	start uint64 // ticks
	gone  bool   // reaped; guarded by box.mu

	stdin       *os.File // our end, nil if there is none
	out, errOut *stream  // the same one when both went to one writer at Run

	mu     sync.Mutex
	child  *os.Process
	reaped bool // the pid may belong to anyone

	exited chan struct{} // closed when it was reaped
	done   chan struct{} // closed when its output is delivered too
	status container.ExitStatus
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
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for process %d of container %s: %w", p.id, p.box.handle, ctx.Err())
	}
}

func (p *process) Signal(ctx context.Context, sig syscall.Signal) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock() // keeps it from being reaped, and so the number ours
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	// It leads its session, so that it cannot leave its process group.
	err := unix.Kill(-p.pid, sig)
	if err == nil || errors.Is(err, unix.ESRCH) {
		return nil
	}
	return fmt.Errorf("signal %d to process %d of container %s: %w", sig, p.id, p.box.handle, err)
}

// follow collects the process and its output. It runs in a goroutine of its own from start to end of the process.
func (p *process) follow() {
	var pumps sync.WaitGroup
	pumps.Go(p.out.pump)
	if p.errOut != p.out {
		pumps.Go(p.errOut.pump)
	}
	p.reap()
	close(p.exited)
	pumps.Wait()
	if p.stdin != nil {
		p.stdin.Close() // whatever the input, nobody reads it any more
	}
	close(p.done)
}

func (p *process) reap() {
	awaitExit(p.pid)
	p.mu.Lock()
	defer p.mu.Unlock()
	at := ticksNow() // before the number is free
	state, err := p.child.Wait()
	p.reaped = true
	var cpu time.Duration
	p.status = 255
	if err != nil {
		p.box.b.log.Warn("exit status of a process is lost", "handle", p.box.handle, "process", p.id, "error", err)
	} else {
		p.status = exitStatus(state)
		cpu = state.UserTime() + state.SystemTime()
	}
	p.box.noteEnd(p, at, cpu)
}

func exitStatus(state *os.ProcessState) container.ExitStatus {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + container.ExitStatus(ws.Signal())
	}
	return container.ExitStatus(state.ExitCode())
}

// feed copies the input. The goroutine ends when the input does, or when it next has something after the process has
// ended: a reader that blocks is the caller's to close.
func (p *process) feed(stdin io.Reader) {
	_, _ = io.Copy(p.stdin, stdin) // a process need not read its input
	_ = p.stdin.Close()
}
