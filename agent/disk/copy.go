package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/program"
)

// copyTree lets one tar read and another one write. Unlike a pipe of the shell it hears of both.
func copyTree(ctx context.Context, from, to string) error {
	if err := tarPipe(ctx, from, to); err != nil {
		return fmt.Errorf("copy %s to %s: %w", from, to, err)
	}
	dir, err := os.Open(to)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("copy %s to %s: sync: %w", from, to, err)
	}
	return nil
}

func tarPipe(ctx context.Context, from, to string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	// What mkfs puts there belongs to the file system.
	reading := tar(ctx, "--create", "--file=-", "--directory="+from, "--sparse", "--one-file-system", "--exclude=./lost+found", ".")
	writing := tar(ctx, "--extract", "--file=-", "--directory="+to, "--preserve-permissions", "--same-owner", "--delay-directory-restore")
	reading.Stdout, writing.Stdin = w, r
	var complaints [2]program.Tail
	reading.Stderr, writing.Stderr = &complaints[0], &complaints[1]

	// They end when this process is killed. The kernel means the thread that began them, so that must live on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err1 := reading.Start()
	err2 := writing.Start()
	r.Close() // theirs now: the one learns of the other's end
	w.Close()
	if err1 == nil && err2 != nil {
		cancel()
	}
	if err2 == nil {
		err2 = writing.Wait()
	}
	if err1 == nil {
		err1 = reading.Wait()
	}
	if ctx.Err() != nil && err2 == nil {
		err2 = context.Cause(ctx)
	}
	return errors.Join(tarError("read", err1, &complaints[0]), tarError("write", err2, &complaints[1]))
}

func tar(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "tar", append(args, "--xattrs", "--xattrs-include=*", "--numeric-owner")...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

func tarError(what string, err error, complaint *program.Tail) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, &program.Error{Program: "tar", Stderr: complaint.String(), Err: err})
}
