package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Command is a program to run.
type Command struct {
	Path string   // absolute
	Args []string // without the program itself
	Dir  string
	Env  []string // all of it

	// Stdout and Stderr take what the program writes; nil discards. Where they are no *os.File, they are written to until a
	// second after the program has ended, whoever else still holds its end.
	Stdout, Stderr io.Writer

	Grace time.Duration // between TERM and KILL; default 10 s
	Nice  int           // is added to the nice value of this process
	Sweep bool          // kill what is left of the process group when the program has ended by itself

	Register *Register // notes it while it runs; nil: if this process is killed, the program goes on
}

const (
	defaultGrace = 10 * time.Second
	outputDelay  = time.Second
	maxNice      = 19
)

// NotStarted is the status of a program that has not run.
const NotStarted = -1

// Run runs a command and returns its exit status, 128 + n if signal n ended it. That is no error; it is one if the program
// cannot be started, with the status NotStarted, or when ctx ends: then the process group is ended too, and the error is
// the cause of ctx.
// When Run returns, nobody writes to Stdout and Stderr any more, unless they are files.
func Run(ctx context.Context, c Command) (status int, err error) {
	if ctx.Err() != nil {
		return NotStarted, context.Cause(ctx)
	}
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.Dir, c.Env, c.Stdout, c.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = outputDelay
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would be that of this process
	}
	if c.Register != nil {
		mark, leave := c.Register.enter()
		defer leave()
		cmd.Env = append(slices.Clip(cmd.Env), mark)
	}
	if err := cmd.Start(); err != nil {
		return NotStarted, err
	}
	group := cmd.Process.Pid
	if c.Nice != 0 {
		renice(group, c.Nice)
	}
	// Until Wait collects the program, nobody else can get its process group's number.
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		awaitExit(group)
	}()
	select {
	case <-exited:
		if c.Sweep {
			signal(group, unix.SIGKILL)
		}
	case <-ctx.Done():
		end(group, exited, cmp.Or(c.Grace, defaultGrace))
		err = context.Cause(ctx)
	}
	waited := cmd.Wait()
	var failed *exec.ExitError
	if waited != nil && !errors.As(waited, &failed) && !errors.Is(waited, exec.ErrWaitDelay) {
		err = cmp.Or(err, fmt.Errorf("take the output: %w", waited))
	}
	return exitStatus(cmd.ProcessState.Sys()), err
}

// exitStatus is the status as a shell has it.
func exitStatus(sys any) int {
	status, ok := sys.(syscall.WaitStatus)
	switch {
	case !ok:
		return NotStarted
	case status.Signaled():
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// awaitExit returns when a child has ended, and leaves it to be collected.
func awaitExit(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// renice makes a process group nicer. A process that forks meanwhile hands on what it has got, or is found itself.
func renice(group, by int) {
	// The system call returns 20 minus the nice value.
	now, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return
	}
	_ = unix.Setpriority(unix.PRIO_PGRP, group, min(20-now+by, maxNice)) // of one that has ended already
}

func signal(group int, sig unix.Signal) {
	_ = unix.Kill(-group, sig) // it may have ended
}
