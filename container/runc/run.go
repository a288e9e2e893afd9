package runc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/supervisor"
	"github.com/deakit/deakit/internal/containerkit"
)

// Run starts a process in a session of its own. The user must be one of the container's /etc/passwd.
func (c *box) Run(ctx context.Context, spec container.ProcessSpec, pio container.IO) (container.Process, error) {
	p, err := c.run(ctx, spec, pio)
	if err != nil {
		return nil, fmt.Errorf("run %q in container %s: %w", spec.Path, c.handle, err)
	}
	return p, nil
}

func (c *box) run(ctx context.Context, spec container.ProcessSpec, pio container.IO) (*process, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	c.gate.RLock() // Stop waits for us, and then ends what we started
	defer c.gate.RUnlock()
	start, err := c.prepare(spec)
	if err != nil {
		return nil, err
	}
	p, err := c.nextProcess()
	if err != nil {
		return nil, err
	}
	ctx, done := containerkit.Within(ctx, c.starts)
	defer done()
	theirs, err := p.connect(pio)
	if err == nil {
		err = c.giveAway(theirs, account{uid: start.UID, gid: start.GID})
	}
	if err == nil {
		err = c.client.Start(ctx, p.id, start, theirs)
	}
	for n, f := range theirs {
		if f != nil && (n < 2 || f != theirs[1]) {
			f.Close()
		}
	}
	if err != nil {
		p.abandon()
		err = c.startError(err, errors.Join(err, c.status.Fail(p.id)))
		if refused := context.Cause(c.starts); refused != nil && ctx.Err() != nil {
			err = refused
		}
		return nil, err
	}
	c.mu.Lock()
	c.procs[p.id] = p
	c.mu.Unlock()
	c.collect(c.hasEnded()) // it may be over
	c.b.work.Go(p.follow)
	if pio.Stdin != nil {
		go p.feed(pio.Stdin)
	}
	return p, nil
}

// startError turns errors of the supervisor into those of a container.
func (c *box) startError(err, all error) error {
	if errors.Is(err, supervisor.ErrGone) {
		return container.ErrStopped
	}
	if errors.Is(err, supervisor.ErrTooBig) {
		return fmt.Errorf("%w: %w", err, container.ErrInvalid)
	}
	return all
}

func (c *box) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// prepare says how to start the process. The gate is held.
func (c *box) prepare(spec container.ProcessSpec) (start supervisor.Process, err error) {
	c.mu.Lock()
	err = c.active()
	c.mu.Unlock()
	if err != nil {
		return start, err
	}
	if err := containerkit.CheckProcess(spec); err != nil {
		return start, err
	}
	user, err := c.account(spec.User)
	if err != nil {
		return start, err
	}
	env := c.environment(spec, user)
	start = supervisor.Process{
		Paths: candidates(spec.Path, env), Args: append([]string{spec.Path}, spec.Args...), Env: env, Dir: spec.Dir,
		UID: user.uid, GID: user.gid, KeepCapabilities: user.uid == 0, KeepGroups: c.b.slots.shared(),
	}
	if start.Dir == "" {
		start.Dir = user.home
	} else {
		start.Dir = path.Clean("/" + start.Dir)
	}
	if user.uid != 0 {
		start.Drop = c.b.capabilitiesToDrop()
	}
	if start.Rlimits, err = c.rlimits(spec.Rlimits, user); err != nil {
		return start, err
	}
	if len(start.Paths) == 0 {
		return start, fmt.Errorf("program not found in PATH: %w", os.ErrNotExist)
	}
	return start, nil
}

// nextProcess takes a number.
func (c *box) nextProcess() (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.status.Reserve(c.lastID + 1); err != nil {
		return nil, err
	}
	c.lastID++
	return newProcess(c, c.lastID), nil
}

func (c *box) streamPath(id uint32, name string) string {
	return filepath.Join(c.dir, streamsName, strconv.FormatUint(uint64(id), 10)+"."+name)
}

// connect makes the streams, and returns the ends that are the process's; nil stands for the null device.
func (p *process) connect(pio container.IO) (theirs [3]*os.File, err error) {
	if pio.Stdin != nil {
		if theirs[0], p.stdin, err = os.Pipe(); err != nil {
			return theirs, err
		}
		// The process shares this setting, and expects the usual one.
		if err := setBlocking(theirs[0]); err != nil {
			return theirs, err
		}
	}
	if pio.Stdout != nil {
		if p.out, theirs[1], err = p.makeOutput("out", pio.Stdout); err != nil {
			return theirs, err
		}
	}
	if containerkit.SameWriter(pio.Stdout, pio.Stderr) {
		p.errOut, theirs[2] = p.out, theirs[1] // one FIFO keeps the order in which things were written
	} else if pio.Stderr != nil {
		p.errOut, theirs[2], err = p.makeOutput("err", pio.Stderr)
	}
	return theirs, err
}

func (p *process) makeOutput(name string, w io.Writer) (*containerkit.Fanout, *os.File, error) {
	s, theirs, err := makeStream(p.box.streamPath(p.id, name))
	if err != nil {
		return nil, nil, err
	}
	s.Attach(w)
	p.streams = append(p.streams, s)
	return &s.Fanout, theirs, nil
}

// giveAway makes the streams the user's, who may then open them by a name: /dev/stdout, for example.
func (c *box) giveAway(streams [3]*os.File, to account) error {
	uid, gid := c.owner(to)
	for _, f := range streams {
		if f == nil {
			continue
		}
		if err := f.Chown(uid, gid); err != nil {
			return fmt.Errorf("give the streams to the user: %w", err)
		}
	}
	return nil
}

func setBlocking(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetNonblock(int(fd), false) }); err != nil {
		return err
	}
	return failed
}

// abandon closes our ends of the streams of a process that never started.
func (p *process) abandon() {
	if p.stdin != nil {
		p.stdin.Close()
	}
	for _, s := range p.streams {
		s.abandon()
	}
}

// Attach finds a process that Run started. Its output from now on goes to the writers of pio as well as to those that
// had it before. Where Run had one writer for both streams, all of it goes to pio.Stdout. A stream that Run discarded
// stays so.
func (c *box) Attach(ctx context.Context, id uint32, pio container.IO) (container.Process, error) {
	if err := c.usable(ctx); err != nil {
		return nil, fmt.Errorf("attach to process %d of container %s: %w", id, c.handle, err)
	}
	if pio.Stdin != nil {
		return nil, fmt.Errorf("attach to process %d of container %s with an input: %w", id, c.handle, container.ErrUnsupported)
	}
	c.mu.Lock()
	p, ok := c.procs[id]
	c.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("attach to process %d of container %s: no such process: %w", id, c.handle, container.ErrNotFound)
	}
	containerkit.AttachBoth(p.out, p.errOut, pio.Stdout, pio.Stderr)
	return p, nil
}
