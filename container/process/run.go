package process

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

// Run starts a process as a child in a session of its own. The program is a path of the host.
func (c *box) Run(ctx context.Context, spec container.ProcessSpec, pio container.IO) (container.Process, error) {
	p, err := c.run(ctx, spec, pio)
	if err != nil {
		return nil, fmt.Errorf("run %q in container %s: %w", spec.Path, c.handle, err)
	}
	return p, nil
}

func (c *box) run(ctx context.Context, spec container.ProcessSpec, pio container.IO) (*process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := containerkit.CheckProcess(spec); err != nil {
		return nil, err
	}
	c.gate.RLock() // Stop waits for us, and then finds what we started
	defer c.gate.RUnlock()
	if err := c.active(); err != nil {
		return nil, err
	}
	dir, err := c.openDir(spec.Dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	p := newProcess(c)
	theirs, err := p.connect(pio)
	if err != nil {
		return nil, err
	}
	defer closeFiles(theirs)
	attr := &os.ProcAttr{
		// By descriptor, which no one can swap for a link on the way; it is resolved before the files are moved in place.
		Dir:   "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())),
		Env:   c.environment(spec),
		Files: theirs,
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	if err := p.launch(spec, attr); err != nil {
		p.abandon()
		return nil, err
	}
	c.enter(p)
	c.b.work.Go(p.follow)
	if pio.Stdin != nil {
		go p.feed(pio.Stdin)
	}
	return p, nil
}

// connect makes the pipes of a process, and returns the ends that are the process's. What nobody reads is no pipe but the
// null device, so that the process can go on writing when we are gone.
func (p *process) connect(pio container.IO) (theirs []*os.File, err error) {
	defer func() {
		if err != nil {
			p.abandon()
			closeFiles(theirs)
			theirs = nil
		}
	}()
	var in *os.File
	if pio.Stdin == nil {
		in, err = os.Open(os.DevNull)
	} else {
		in, p.stdin, err = os.Pipe()
	}
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, in)
	var out *os.File
	if p.out, out, err = p.openOutput(pio.Stdout); err != nil {
		return theirs, err
	}
	theirs = append(theirs, out)
	if containerkit.SameWriter(pio.Stdout, pio.Stderr) {
		p.errOut = p.out // one pipe keeps the order in which things were written
		return append(theirs, out), nil
	}
	if p.errOut, out, err = p.openOutput(pio.Stderr); err != nil {
		return theirs, err
	}
	return append(theirs, out), nil
}

func (p *process) openOutput(w io.Writer) (ours *containerkit.Fanout, theirs *os.File, err error) {
	if w == nil {
		theirs, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		return nil, theirs, err
	}
	pipe, theirs, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	out := containerkit.NewOutput(pipe)
	out.Attach(w)
	p.outputs = append(p.outputs, out)
	return &out.Fanout, theirs, nil
}

// abandon closes our ends of the pipes of a process that never started.
func (p *process) abandon() {
	if p.stdin != nil {
		p.stdin.Close()
	}
	for _, out := range p.outputs {
		out.Close()
	}
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close() // standard output and error may be one file: the second Close does nothing
	}
}

// environment composes the environment of a process: what the back end adds, then Spec.Env, then ProcessSpec.Env, later
// entries replacing earlier ones; nothing of our own.
func (c *box) environment(spec container.ProcessSpec) []string {
	account := []string{"HOME=" + c.inside(container.AppHome), "USER=" + cmp.Or(spec.User, container.AppUser)}
	env := containerkit.MergeEnv(account, containerkit.DefaultEnv(), c.env, spec.Env)
	env = slices.DeleteFunc(env, func(entry string) bool { return strings.HasPrefix(entry, markerName+"=") })
	return append(env, markerName+"="+c.marker)
}

// enter makes a started process known. The caller holds the gate.
func (c *box) enter(p *process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.procs[p.id] = p
	c.touched = ticksNow()
}

// Attach finds a process that Run started. Its output from now on goes to the writers of pio as well as to those that
// had it before. Where Run had one writer for both streams, all of it goes to pio.Stdout. A stream that Run discarded
// stays so, and those of a process that an earlier back end started are lost.
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
