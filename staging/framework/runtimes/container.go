package runtimes

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerexec"
)

// A Container is a [System]: what its processes find is what counts, whatever this machine has. It needs sh there.
type Container struct {
	Container container.Container
	Env       []string // variables of the programs that are looked for, in the form NAME=value; later entries win
}

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

// Find implements [System].
func (c Container) Find(ctx context.Context, name, search string) (string, error) {
	out, status, err := c.output(ctx, "/bin/sh", "-f", "-c", find, "sh", name, search)
	if err != nil {
		return "", err
	}
	if status != 0 || out == "" {
		return "", fmt.Errorf("%w: no %s in the container", ErrNotInstalled, name)
	}
	return out, nil
}

// Variable implements [System].
func (c Container) Variable(name string) string {
	value := ""
	for _, entry := range c.Env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// Output implements [System].
func (c Container) Output(ctx context.Context, program string, args ...string) (string, error) {
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
func (c Container) output(ctx context.Context, program string, args ...string) (string, container.ExitStatus, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, CheckTimeout, fmt.Errorf("%s did not end within %v", program, CheckTimeout))
	defer cancel()
	var out firstBytes
	var env []string
	if search := c.Variable("PATH"); search != "" {
		env = []string{"PATH=" + search}
	}
	spec := container.ProcessSpec{Path: program, Args: args, Env: env, Dir: "/tmp"}
	status, err := containerexec.Run(ctx, c.Container, spec, container.IO{Stdout: &out, Stderr: &out})
	return out.kept.String(), status, err
}

// firstBytes keeps the first MaxOutput bytes of what is written.
type firstBytes struct{ kept bytes.Buffer }

func (f *firstBytes) Write(p []byte) (int, error) {
	f.kept.Write(p[:min(len(p), MaxOutput-f.kept.Len())])
	return len(p), nil
}
