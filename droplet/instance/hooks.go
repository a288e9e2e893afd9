package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/deakit/deakit/container"
)

// Hooks are paths of shell scripts on this machine, which an operator wants to be run in the container of each
// instance, as its user, with its environment (dea_ng). An empty path is no hook; a file that is not there is told in
// the log and skipped.
type Hooks struct {
	BeforeStart string // the droplet is unpacked, the app not yet started
	AfterStart  string // the app is RUNNING
	BeforeStop  string // the app still runs
	AfterStop   string // right before the container is stopped, which could not run it any more
}

// hookOutput bounds what is kept of the output of a hook, for the log.
const hookOutput = 4 << 10

// hook runs one hook. An exit status other than 0 is an error.
func (l *life) hook(ctx context.Context, name, file string) error {
	if file == "" {
		return nil
	}
	script, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		l.log.Warn("droplet.hook-script.missing", "hook", name, "path", file)
		return nil
	}
	if err != nil {
		return fmt.Errorf("hook %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.HookTimeout)
	defer cancel()
	var output tailBuffer
	process, err := l.container.Run(ctx, container.ProcessSpec{
		Path: "/bin/bash", Dir: container.AppHome, Env: systemEnv(l.Instance, l.Status()),
	}, container.IO{Stdin: strings.NewReader(hookScript(l.message.Environment(), string(script))), Stdout: &output, Stderr: &output})
	if err != nil {
		return fmt.Errorf("hook %s: %w", name, err)
	}
	begun := time.Now()
	status, err := process.Wait(ctx)
	if err != nil {
		if ctx.Err() != nil { // it would go on beside the app for ever
			_ = process.Signal(context.WithoutCancel(ctx), 9)
		}
		return fmt.Errorf("hook %s: after %s: %w", name, time.Since(begun).Round(time.Millisecond), err)
	}
	if status != 0 {
		return fmt.Errorf("hook %s: %s exited with status %d: %s", name, file, status, output.String())
	}
	return nil
}

// stopHook runs a hook around a stop. It cannot keep an instance from being stopped.
func (l *life) stopHook(ctx context.Context, name, file string) {
	if err := l.hook(ctx, name, file); err != nil {
		l.log.Warn("droplet.hook-script.failed", "hook", name, "error", err)
	}
}

// tailBuffer keeps the end of what is written to it. One goroutine at a time may use it.
type tailBuffer struct{ kept []byte }

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - hookOutput; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tailBuffer) String() string {
	return strings.ToValidUTF8(strings.TrimSpace(string(t.kept)), "?")
}
