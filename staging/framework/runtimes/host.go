package runtimes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// The bounds of a check.
const (
	CheckTimeout = 20 * time.Second
	MaxOutput    = 64 << 10
)

// Host is this machine as a [System].
type Host struct{}

// Find implements [System].
func (Host) Find(_ context.Context, name, search string) (string, error) {
	if filepath.IsAbs(name) {
		return name, executable(name)
	}
	if search == "" {
		search = os.Getenv("PATH")
	}
	if filepath.Base(name) != name {
		return "", fmt.Errorf("%w: %q is neither an absolute path nor a name", ErrNotInstalled, name)
	}
	for _, dir := range filepath.SplitList(search) {
		if !filepath.IsAbs(dir) { // "$PATH" too, which stands for what is searched next
			continue
		}
		if found := filepath.Join(dir, name); executable(found) == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%w: no %s in %s", ErrNotInstalled, name, search)
}

func executable(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotInstalled, err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%w: %s is no program", ErrNotInstalled, name)
	}
	return nil
}

// Variable implements [System].
func (Host) Variable(name string) string { return os.Getenv(name) }

// Output implements [System]. The program has CheckTimeout; its whole process group is killed then.
func (Host) Output(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, CheckTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"HOME=" + os.Getenv("HOME"), "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for what keeps the output open
	var output firstBytes
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	text := output.kept.String()
	switch {
	case err == nil:
		return text, nil
	case errors.Is(err, exec.ErrWaitDelay): // it has ended well, and left something behind
		_ = cmd.Cancel()
		return text, nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s: %w", program, ctx.Err())
	}
	return "", fmt.Errorf("%s: %w: %q", program, err, shorten(text))
}
