package garden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"unicode/utf8"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

// A process is one of a container. Its name at the server is its number.
type process struct {
	c    *box
	id   uint32
	name string

	out, errOut *containerkit.Fanout // nil where output is discarded

	done   chan struct{} // closed when it has ended and its output is delivered
	status container.ExitStatus
	err    error

	mu      sync.Mutex
	badText bool // input was not UTF-8
}

// follow opens the streams of the process, which ctx bounds, and waits for its end in the background. When it fails, conn is
// open still.
func (p *process) follow(ctx context.Context, conn *processConn, pio container.IO) error {
	b := p.c.b
	out, errs := containerkit.Apart(pio.Stdout, pio.Stderr)
	var names []string
	if out != nil {
		names = append(names, "stdout")
	}
	if errs != nil {
		names = append(names, "stderr")
	}
	conns, err := p.c.openTaps(ctx, conn, names)
	if err != nil {
		return err
	}
	var taps []*tap
	for i, raw := range conns {
		t := newTap(names[i], raw)
		f := containerkit.NewFanout(t)
		taps = append(taps, t)
		if t.name == "stdout" {
			p.out = f
			f.Attach(out)
		} else {
			p.errOut = f
			f.Attach(errs)
		}
	}
	if err := b.fleet.Go(func() { p.watch(conn, taps) }); err != nil {
		for _, t := range taps {
			t.Close()
		}
		return err
	}
	if conn.ownsInput {
		go p.feed(conn, pio.Stdin)
	}
	return nil
}

// watch waits for the end of the process and of its output.
func (p *process) watch(conn *processConn, taps []*tap) {
	defer close(p.done)
	ctx := p.c.b.ctx
	var pumps sync.WaitGroup
	lost := make([]error, 2)
	for i, f := range []*containerkit.Fanout{p.out, p.errOut} {
		if f != nil {
			pumps.Go(func() { lost[i] = f.Pump() })
		}
	}
	stop := context.AfterFunc(ctx, func() { closeAll(taps) })
	defer stop()
	p.status, p.err = p.await(ctx, conn, taps)
	for _, t := range taps {
		t.finish()
	}
	pumps.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		p.status, p.err = -1, ErrClosed
	case p.badText:
		p.status, p.err = -1, fmt.Errorf("input: %w", ErrNotText)
	case p.err == nil && errors.Join(lost...) != nil:
		p.err = fmt.Errorf("output is lost: %w: %w", ErrConnection, errors.Join(lost...))
	}
}

func closeAll(taps []*tap) {
	for _, t := range taps {
		_ = t.Close() // nothing more is wanted of it
	}
}

// feed sends the input, or that there is none, and ends when the input does, or when it next has something after the
// process has ended.
func (p *process) feed(conn *processConn, stdin io.Reader) {
	if stdin != nil {
		buf, held := make([]byte, 32<<10), 0
		for {
			n, err := stdin.Read(buf[held:])
			held += n
			whole := held - partial(buf[:held])
			if err != nil {
				whole = held
			}
			if !utf8.Valid(buf[:whole]) {
				p.mu.Lock()
				p.badText = true
				p.mu.Unlock()
				break
			}
			if whole > 0 && conn.sendInput(string(buf[:whole])) != nil {
				return // a process need not read its input
			}
			held = copy(buf, buf[whole:held])
			if err != nil {
				break
			}
		}
	}
	_ = conn.endInput() // else the process has ended
}

// partial returns how many bytes at the end are the beginning of a character that is not complete.
func partial(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return n
			}
			return 0
		}
	}
	return 0
}

// ID numbers the process within its container.
func (p *process) ID() uint32 { return p.id }

// Wait waits for the end of the process, also while the server cannot be reached: then a connection is made anew, until the
// server says that it does not know the process, which is container.ErrStatusUnknown. Input ends with the connection.
func (p *process) Wait(ctx context.Context) (container.ExitStatus, error) {
	if err := containerkit.Await(ctx, p.done); err != nil {
		return 0, fmt.Errorf("wait for process %d of container %s: %w", p.id, p.c.handle, err)
	}
	if p.err != nil {
		return -1, fmt.Errorf("wait for process %d of container %s: %w", p.id, p.c.handle, p.err)
	}
	return p.status, nil
}

// Signal sends SIGTERM or SIGKILL, by a connection of its own: the server reads no more from one whose input has ended.
func (p *process) Signal(ctx context.Context, sig syscall.Signal) error {
	err := ctx.Err()
	if err == nil {
		err = p.signal(ctx, sig)
	}
	if err != nil {
		return fmt.Errorf("signal %d to process %d of container %s: %w", sig, p.id, p.c.handle, err)
	}
	return nil
}

func (p *process) signal(ctx context.Context, sig syscall.Signal) error {
	number, ok := map[syscall.Signal]int{syscall.SIGTERM: signalTerminate, syscall.SIGKILL: signalKill}[sig]
	if !ok {
		return fmt.Errorf("Garden knows SIGTERM and SIGKILL only: %w", container.ErrUnsupported)
	}
	if p.ended() {
		return nil
	}
	conn, err := p.c.b.client.openProcess(ctx, "GET", p.c.route("processes", p.name), nil)
	if errors.Is(err, container.ErrNotFound) { // it has ended
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.close()
	return conn.sendSignal(number)
}
