package buildpack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/deakit/deakit/container"
)

const (
	maxOutput = 64 << 10 // of bin/detect and bin/release
	maxName   = 1 << 10  // of what bin/detect prints
)

// Classic is a buildpack with the programs bin/detect, bin/compile and bin/release (Heroku, dea_ng). Its directory is
// shown to the container read-only, as far as the back end can, at the path that it has on the host.
type Classic struct {
	key, dir string
}

// NewClassic returns the buildpack in a directory of the host. key is empty unless it is an admin buildpack. The
// directory must be readable for the user of the container, and stay until the container is gone.
func NewClassic(key, dir string) (*Classic, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("buildpack: %w", err)
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("buildpack: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("buildpack %s: %w", dir, syscall.ENOTDIR)
	}
	return &Classic{key: key, dir: dir}, nil
}

// Key implements [Buildpack].
func (c *Classic) Key() string { return c.key }

// Path implements [Buildpack].
func (c *Classic) Path() string { return c.dir }

// Mounts implements [Buildpack].
func (c *Classic) Mounts() []container.BindMount { return []container.BindMount{{Src: c.dir}} }

// Root implements [Buildpack].
func (c *Classic) Root() string { return StagedRoot }

// Prepare implements [Buildpack]. There is nothing to do.
func (c *Classic) Prepare(context.Context, Build) error { return nil }

// Detect runs bin/detect with the directory of the app; what it prints to stdout is the name, stderr goes to the log. A
// buildpack whose bin/detect cannot be run does not match, and the log says so (dea_ng).
func (c *Classic) Detect(ctx context.Context, b Build) (string, bool, error) {
	var name limited
	status, err := c.run(ctx, b, "detect", &name, b.inside(b.AppDir)...)
	var failed *ScriptError
	switch {
	case errors.As(err, &failed):
		fmt.Fprintf(b.stderr(), "Failed to run buildpack detection script with error: %v\n", failed)
		return "", false, nil
	case err != nil:
		return "", false, err
	}
	text := strings.TrimSpace(name.text())
	if len(text) > maxName {
		text = strings.ToValidUTF8(text[:maxName], "")
	}
	return text, status == 0, nil
}

// Compile runs bin/compile with the directories of the app and of the cache. Its output goes to the log, both streams in
// the order in which they were written. It fails with a [*ScriptError].
func (c *Classic) Compile(ctx context.Context, b Build) error {
	return c.must(ctx, b, "compile", b.inside(b.AppDir, b.CacheDir)...)
}

// must runs a program whose output is for people, and which has to succeed.
func (c *Classic) must(ctx context.Context, b Build, name string, args ...string) error {
	status, err := c.run(ctx, b, name, b.Log, args...)
	if err == nil && status != 0 {
		err = &ScriptError{Script: script(name), Status: status}
	}
	return err
}

// has tells whether the buildpack brings a program.
func (c *Classic) has(name string) bool {
	_, err := os.Lstat(filepath.Join(c.dir, script(name)))
	return err == nil
}

// run runs a program of the buildpack to its end. Arguments that are paths have been passed through Build.inside. A program
// that cannot be started is a ScriptError, trouble with the container another error.
func (c *Classic) run(ctx context.Context, b Build, name string, stdout io.Writer, args ...string) (container.ExitStatus, error) {
	spec := container.ProcessSpec{Path: b.Info.Inside(path.Join(c.dir, script(name))), Args: args, Env: b.Env, Dir: b.Root}
	return runProgram(ctx, b, script(name), spec, container.IO{Stdout: stdout, Stderr: b.stderr()})
}

// runProgram runs a program to its end. One that cannot be started is a ScriptError with the name what, trouble with the
// container another error.
func runProgram(ctx context.Context, b Build, what string, spec container.ProcessSpec, streams container.IO) (container.ExitStatus, error) {
	process, err := b.Container.Run(ctx, spec, streams)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case errors.Is(err, container.ErrStopped), errors.Is(err, container.ErrNotFound):
		return 0, err
	default:
		return 0, &ScriptError{Script: what, Err: startFailure(err)}
	}
	status, err := process.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		kill(ctx, process)
		return 0, context.Cause(ctx)
	}
	return status, err
}

// startFailure tells why a program cannot be started, without the place to which its files were brought.
func startFailure(err error) error {
	var reason syscall.Errno
	switch {
	case !errors.As(err, &reason):
		return err
	case reason == syscall.ENOENT:
		return fmt.Errorf("it cannot be started: it is missing, or the program that its first line names is: %w", reason)
	}
	return fmt.Errorf("it cannot be started: %w", reason)
}

// kill ends a process and those in its group at once, and gives its last output a moment to arrive.
func kill(ctx context.Context, process container.Process) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 200*time.Millisecond)
	defer cancel()
	// Errors mean that the container is gone, or that others hold the output: whoever owns the container ends those.
	_ = process.Signal(ctx, syscall.SIGKILL)
	_, _ = process.Wait(ctx)
}

// limited keeps the first maxOutput bytes that are written to it.
type limited struct {
	kept bytes.Buffer // not embedded: its ReadFrom has no limit
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	fits := p[:min(len(p), maxOutput-l.kept.Len())]
	l.over = l.over || len(fits) < len(p)
	l.kept.Write(fits)
	return len(p), nil
}

func (l *limited) text() string { return strings.ToValidUTF8(l.kept.String(), "\uFFFD") }
