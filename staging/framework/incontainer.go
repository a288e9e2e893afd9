package framework

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/framework/runtimes"
)

// inContainer looks for runtimes in the container of a build.
type inContainer struct{ build buildpack.Build }

// find prints the path of an executable; $1 is its name and $2 the directories that are searched, in the form of PATH.
const find = `case $1 in
/*) [ -f "$1" ] && [ -x "$1" ] && printf '%s' "$1"; exit ;;
*/*) exit 1 ;;
esac
IFS=:
for dir in ${2:-$PATH}; do
  case $dir in /*) if [ -f "$dir/$1" ] && [ -x "$dir/$1" ]; then printf '%s' "$dir/$1"; exit 0; fi ;; esac
done
exit 1`

// Find implements [runtimes.System].
func (c inContainer) Find(ctx context.Context, name, search string) (string, error) {
	out, status, err := c.output(ctx, "/bin/sh", "-f", "-c", find, "sh", name, search)
	if err != nil {
		return "", err
	}
	if status != 0 || out == "" {
		return "", fmt.Errorf("%w: no %s in the container", runtimes.ErrNotInstalled, name)
	}
	return out, nil
}

// Variable implements [runtimes.System].
func (c inContainer) Variable(name string) string {
	value := ""
	for _, entry := range c.build.Env { // later entries win
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// Output implements [runtimes.System].
func (c inContainer) Output(ctx context.Context, program string, args ...string) (string, error) {
	out, status, err := c.output(ctx, program, args...)
	if err != nil {
		return "", err
	}
	if status != 0 {
		return "", fmt.Errorf("%s exited with status %d", program, status)
	}
	return out, nil
}

// output runs a program for as long as a check may take.
func (c inContainer) output(ctx context.Context, program string, args ...string) (string, container.ExitStatus, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, runtimes.CheckTimeout, fmt.Errorf("%s did not end within %v", program, runtimes.CheckTimeout))
	defer cancel()
	var out firstBytes
	var env []string
	if search := c.Variable("PATH"); search != "" {
		env = []string{"PATH=" + search}
	}
	spec := container.ProcessSpec{Path: program, Args: args, Env: env, Dir: "/tmp"}
	status, err := runToEnd(ctx, c.build.Container, spec, container.IO{Stdout: &out, Stderr: &out})
	return out.kept.String(), status, err
}

// firstBytes keeps the beginning of what is written.
type firstBytes struct{ kept bytes.Buffer }

func (f *firstBytes) Write(p []byte) (int, error) {
	f.kept.Write(p[:min(len(p), runtimes.MaxOutput-f.kept.Len())])
	return len(p), nil
}

// runToEnd runs a process. When ctx ends it is killed, with its process group, and waited for as long as that can take.
func runToEnd(ctx context.Context, c container.Container, spec container.ProcessSpec, pio container.IO) (container.ExitStatus, error) {
	process, err := c.Run(ctx, spec, pio)
	if err != nil {
		return 0, err
	}
	status, err := process.Wait(ctx)
	if ctx.Err() == nil {
		return status, err
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err = process.Signal(end, syscall.SIGKILL)
	_, waited := process.Wait(end)
	return 0, errors.Join(context.Cause(ctx), err, waited)
}
