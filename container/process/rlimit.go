package process

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
)

type rlimit struct {
	resource int
	name     string
	value    uint64
}

// listRlimits returns the limits that are asked for.
func listRlimits(r container.Rlimits) []rlimit {
	var list []rlimit
	for _, l := range []struct {
		resource int
		name     string
		value    *uint64
	}{
		{unix.RLIMIT_NOFILE, "open files", r.NoFile},
		{unix.RLIMIT_NPROC, "processes", r.NProc},
		{unix.RLIMIT_FSIZE, "file size", r.FSize},
		{unix.RLIMIT_CORE, "core dump size", r.Core},
		{unix.RLIMIT_AS, "address space", r.AS},
		{unix.RLIMIT_CPU, "processor time", r.CPU},
		{unix.RLIMIT_STACK, "stack size", r.Stack},
	} {
		if l.value != nil {
			list = append(list, rlimit{l.resource, l.name, *l.value})
		}
	}
	return list
}

// setRlimits sets resource limits of another process of this account, as far as its hard limits allow.
func setRlimits(pid int, limits []rlimit) error {
	for _, l := range limits {
		var now unix.Rlimit
		if err := unix.Prlimit(pid, l.resource, nil, &now); err != nil {
			return fmt.Errorf("set resource limit %s: %w", l.name, err)
		}
		value := min(l.value, now.Max)
		if err := unix.Prlimit(pid, l.resource, &unix.Rlimit{Cur: value, Max: value}, nil); err != nil {
			return fmt.Errorf("set resource limit %s to %d: %w", l.name, value, err)
		}
	}
	return nil
}

// startLimited starts a program with resource limits, which hold before its first instruction, where there is no
// supervisor to hold it back.
//
// os.StartProcess cannot set limits between fork and exec, and limits of this process are not to be touched: they
// would hit everything else in it. A shell in between (ulimit, exec) rounds values to blocks, knows only some limits,
// and edits the environment. So the child asks to be traced: the kernel stops it when the program is in place and has
// not run, prlimit(2) sets the limits exactly, and it is let go. That needs no privilege; it needs ptrace(2), which
// ordinary container runtimes allow. A setuid program gets no privileges when it is started this way.
func startLimited(path string, argv []string, attr *os.ProcAttr, limits []rlimit) (*os.Process, error) {
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	attr.Sys.Ptrace = true
	p, err := os.StartProcess(path, argv, attr)
	if err != nil {
		return nil, err
	}
	if err := limitTraced(p.Pid, limits); err != nil {
		_ = p.Kill()
		_, _ = p.Wait()
		return nil, err
	}
	return p, nil
}

func limitTraced(pid int, limits []rlimit) error {
	stopped, err := awaitStop(pid)
	if err != nil || !stopped {
		return err
	}
	if err := setRlimits(pid, limits); err != nil {
		return err
	}
	if err := unix.PtraceDetach(pid); err != nil && err != unix.ESRCH { // killed meanwhile
		return fmt.Errorf("let the process go: %w", err)
	}
	return nil
}

// awaitStop waits for the traced child to stop, and returns false when it was killed before. What it sees stays for
// os.Process.Wait to collect.
func awaitStop(pid int) (bool, error) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		const trapped, halted = 4, 5 // CLD_TRAPPED, CLD_STOPPED
		return info.Code == trapped || info.Code == halted, err
	}
}

// awaitExit returns when the child has ended, and leaves it to os.Process.Wait.
func awaitExit(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}
