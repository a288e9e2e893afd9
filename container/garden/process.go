package garden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unicode/utf8"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

// A process is one of a container. Its name at the server is its number.
type process struct {
	c  *box
	id uint32

	conn        *processConn
	out, errOut *containerkit.Fanout // nil where output is discarded

	done   chan struct{} // closed when it has ended and its output is delivered
	status container.ExitStatus
	err    error

	mu      sync.Mutex
	badText bool // input was not UTF-8
}

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
			ID: strconv.FormatUint(uint64(id), 10), Path: spec.Path, Args: spec.Args, Env: mergeEnv(spec.Env), Dir: spec.Dir,
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
	p := &process{c: c, conn: conn, done: make(chan struct{})}
	if id, err := strconv.ParseUint(spec.ID, 10, 32); err == nil {
		p.id = uint32(id)
	}
	return p, p.follow(pio)
}

// post starts a process. When ctx ends before the server has answered, the process is killed as soon as it does.
func (c *box) post(ctx context.Context, spec *processSpec) (*processConn, error) {
	type answer struct {
		conn *processConn
		err  error
	}
	answers := make(chan answer)
	err := c.b.start(func() {
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

// follow opens the streams of the process and waits for its end in the background.
func (p *process) follow(pio container.IO) error {
	b := p.c.b
	out, errs := pio.Stdout, pio.Stderr
	if containerkit.SameWriter(out, errs) { // they come apart, in no order
		shared := &containerkit.LockedWriter{W: out}
		out, errs = shared, shared
	}
	var streams []*containerkit.Fanout
	for _, s := range []struct {
		name string
		to   io.Writer
		at   **containerkit.Fanout
	}{{"stdout", out, &p.out}, {"stderr", errs, &p.errOut}} {
		if s.to == nil {
			continue
		}
		route := p.c.route("processes", p.conn.processID, "attaches", p.conn.streamID, s.name)
		raw, err := b.client.takeOver(b.ctx, "GET", route, nil)
		if err != nil {
			p.conn.close()
			for _, s := range streams {
				s.Close()
			}
			return err
		}
		f := containerkit.NewFanout(raw)
		f.Attach(s.to)
		*s.at = f
		streams = append(streams, f)
	}
	err := b.start(func() { p.watch(streams) })
	if err != nil {
		p.conn.close()
		for _, s := range streams {
			s.Close()
		}
		return err
	}
	if p.conn.ownsInput {
		go p.feed(pio.Stdin)
	}
	return nil
}

// watch waits for the end of the process and of its output.
func (p *process) watch(streams []*containerkit.Fanout) {
	defer close(p.done)
	ctx := p.c.b.ctx
	stop := context.AfterFunc(ctx, func() {
		p.conn.close()
		for _, s := range streams {
			s.Close()
		}
	})
	defer stop()
	defer p.conn.close()
	var pumps sync.WaitGroup
	lost := make([]error, len(streams))
	for i, s := range streams {
		pumps.Go(func() { lost[i] = s.Pump() })
	}
	p.status, p.err = p.conn.await()
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

// feed sends the input, or that there is none, and ends when the input does, or when it next has something after the
// process has ended.
func (p *process) feed(stdin io.Reader) {
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
			if whole > 0 && p.conn.sendInput(string(buf[:whole])) != nil {
				return // a process need not read its input
			}
			held = copy(buf, buf[whole:held])
			if err != nil {
				break
			}
		}
	}
	_ = p.conn.endInput() // else the process has ended
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

// Wait waits for the end of the process. After the loss of the connection the error is container.ErrStatusUnknown: Attach
// may find the process again.
func (p *process) Wait(ctx context.Context) (container.ExitStatus, error) {
	select {
	case <-p.done:
	default:
		select {
		case <-p.done:
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for process %d of container %s: %w", p.id, p.c.handle, ctx.Err())
		}
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
	select {
	case <-p.done:
		return nil
	default:
	}
	conn, err := p.c.b.client.openProcess(ctx, "GET", p.c.route("processes", p.conn.processID), nil)
	if errors.Is(err, container.ErrNotFound) { // it has ended
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.close()
	return conn.sendSignal(number)
}

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
	p := &process{c: c, id: id, conn: conn, done: make(chan struct{})}
	if err := p.follow(pio); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known == nil || errors.Is(known.err, ErrConnection) {
		c.procs[id] = p
	}
	return p, nil
}

// holds attaches the writers to the streams that there are, and tells whether that was enough: the process has not ended
// unseen, and no stream is wanted that was discarded.
func (p *process) holds(pio container.IO) bool {
	select {
	case <-p.done:
		return p.err == nil
	default:
	}
	if pio.Stdout != nil && p.out == nil || pio.Stderr != nil && p.errOut == nil {
		return false
	}
	out, errs := pio.Stdout, pio.Stderr
	if containerkit.SameWriter(out, errs) {
		shared := &containerkit.LockedWriter{W: out}
		out, errs = shared, shared
	}
	p.out.Attach(out)
	p.errOut.Attach(errs)
	return true
}
