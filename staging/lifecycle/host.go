package lifecycle

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/tarball"
)

// host lets buildpacks work where this process stands: no container at all. Its paths are those of the file system, its
// processes children of this one with the same account and privileges, and nothing is limited. It has as much of a
// container.Container as buildpacks need.
type host struct {
	unsupported
	running sync.WaitGroup // children; each ends when its process has, and outputDelay after it at the latest
}

func (h *host) Handle() string { return "host" }

func (h *host) Info(context.Context) (container.Info, error) {
	return container.Info{State: container.StateActive}, nil
}

// outputDelay is how long output is awaited from those who inherited it, once the process itself has ended.
const outputDelay = 10 * time.Second

// Run starts a process in a process group of its own. The user of the spec means nothing here.
func (h *host) Run(ctx context.Context, spec container.ProcessSpec, pio container.IO) (container.Process, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Dir, cmd.Env = spec.Dir, spec.Env
	if cmd.Env == nil {
		cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"} // nil would mean all that this process has
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = pio.Stdin, pio.Stdout, pio.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = outputDelay
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &child{cmd: cmd, ended: make(chan struct{})}
	h.running.Go(p.await)
	return p, nil
}

// A child is a process of the host.
type child struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	status container.ExitStatus // set when ended is closed, as is err
	err    error
}

func (c *child) await() {
	defer close(c.ended)
	err := c.cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
	case errors.As(err, &exit):
		c.status = container.ExitStatus(exit.ExitCode())
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			c.status = 128 + container.ExitStatus(ws.Signal())
		}
	default: // its output could not be passed on
		c.err = err
	}
}

func (c *child) ID() uint32 { return 1 }

func (c *child) Wait(ctx context.Context) (container.ExitStatus, error) {
	select {
	case <-c.ended:
		return c.status, c.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (c *child) Signal(_ context.Context, sig syscall.Signal) error {
	select {
	case <-c.ended:
		return nil
	default:
		return syscall.Kill(-c.cmd.Process.Pid, sig)
	}
}

// StreamOut reads one file, directory or link as it is.
func (h *host) StreamOut(ctx context.Context, p string) (io.ReadCloser, error) {
	root, err := os.OpenRoot(filepath.Dir(p))
	if err != nil {
		return nil, err
	}
	name := filepath.Base(p)
	if _, err := root.Lstat(name); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	from, to := io.Pipe()
	s := &stream{PipeReader: from, written: make(chan struct{})}
	go func() {
		defer close(s.written)
		defer root.Close()
		to.CloseWithError(tarball.Write(ctx, to, root, name, tarball.Options{Name: name}))
	}()
	return s, nil
}

// A stream is read from a goroutine, which has ended when Close returns.
type stream struct {
	*io.PipeReader
	written chan struct{}
}

func (s *stream) Close() error {
	err := s.PipeReader.Close()
	<-s.written
	return err
}

// unsupported is what buildpacks do not ask a container for.
type unsupported struct{}

func (unsupported) Attach(context.Context, uint32, container.IO) (container.Process, error) {
	return nil, container.ErrUnsupported
}

func (unsupported) SetLimits(context.Context, container.Limits) error {
	return container.ErrUnsupported
}

func (unsupported) NetIn(context.Context, uint16, uint16) (container.PortMapping, error) {
	return container.PortMapping{}, container.ErrUnsupported
}

func (unsupported) NetOut(context.Context, container.EgressRule) error {
	return container.ErrUnsupported
}

func (unsupported) StreamIn(context.Context, string, string, io.Reader) error {
	return container.ErrUnsupported
}

func (unsupported) Usage(context.Context) (container.Usage, error) {
	return container.Usage{}, container.ErrUnsupported
}

func (unsupported) Stop(context.Context, bool) error { return container.ErrUnsupported }

func (unsupported) Destroy(context.Context) error { return container.ErrUnsupported }
