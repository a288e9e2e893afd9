// Package program runs programs of the system that answer and end: mount, mkfs, udevadm and their like.
package program

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unicode"
)

const (
	maxTime   = time.Hour
	maxOutput = 4 << 20
	shown     = 1024 // of what the program complained, in errors
)

// An Error is the failure of a program. Arguments are not in it: they may be secret.
type Error struct {
	Program string // its base name
	Stderr  string // the end of it, printable
	Err     error  // how it ended, or why it could not begin
}

func (e *Error) Error() string {
	if e.Stderr == "" {
		return fmt.Sprintf("%s: %v", e.Program, e.Err)
	}
	return fmt.Sprintf("%s: %v: %s", e.Program, e.Err, e.Stderr)
}

// Unwrap returns how the program ended.
func (e *Error) Unwrap() error { return e.Err }

// errOutput: a program printed more than anybody wants to read.
var errOutput = errors.New("more output than 4 MiB")

// A Runner is [Run], or what stands for it in tests.
type Runner func(ctx context.Context, name string, args ...string) (stdout []byte, err error)

// Run runs a program, without a shell, and returns what it wrote to its standard output: 4 MiB at most. It speaks English
// and has nothing to read. When ctx ends, or after an hour, it is killed with all of its process group; when this
// process is killed, so is the program. Every error is an [*Error]; what was printed before it is returned too.
func Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	return Feed(ctx, "", name, args...)
}

// Feed is Run with a standard input.
func Feed(ctx context.Context, stdin, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime, fmt.Errorf("not done within %s: %w", maxTime, context.DeadlineExceeded))
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	// Who is killed leaves no program behind that goes on changing the machine while a successor looks at it. The kernel
	// means the thread that began it, so that must live on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for what it started that holds its output open
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	out, complaints := &head{}, &Tail{}
	cmd.Stdout, cmd.Stderr = out, complaints
	err := cmd.Run()
	switch {
	case out.over:
		err = errOutput
	case err != nil && ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	if err != nil {
		return out.kept, &Error{filepath.Base(name), complaints.String(), err}
	}
	return out.kept, nil
}

// A head keeps the beginning, and ends what writes too much.
type head struct {
	kept []byte
	over bool
}

func (h *head) Write(p []byte) (int, error) {
	if len(h.kept)+len(p) > maxOutput {
		h.over = true
		return 0, errOutput
	}
	h.kept = append(h.kept, p...)
	return len(p), nil
}

// A Tail keeps the end of what is written to it: 1 KiB.
type Tail struct{ kept []byte }

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p[max(0, len(p)-shown):]...)
	t.kept = t.kept[max(0, len(t.kept)-shown):]
	return len(p), nil
}

// String is one line of what can be printed.
func (t *Tail) String() string {
	text := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, strings.ToValidUTF8(string(t.kept), ""))
	return strings.TrimSpace(text)
}
