package runc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// bootID stands for the time since the machine started.
func bootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // where the kernel hides it, start times must do
	return strings.TrimSpace(string(text))
}

// An initProcess is the first process of a container, the supervisor, as the host sees it. When it ends, all others of
// the container have ended: that is what the kernel does with a pid namespace.
type initProcess struct {
	pid   int
	start uint64   // ticks since the machine started
	fd    *os.File // a pidfd
}

// open opens the process, and finds out its start time.
func (p *initProcess) open() error {
	fd, err := unix.PidfdOpen(p.pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.pid, err)
	}
	// Only now: the number may have had another owner before.
	if p.start, err = startTime(p.pid); err != nil {
		unix.Close(fd)
		return err
	}
	p.fd = os.NewFile(uintptr(fd), "pidfd")
	return nil
}

// reopen opens the process that an earlier back end knew, and returns false when it has ended.
func (p *initProcess) reopen() (bool, error) {
	want := p.start
	err := p.open()
	if errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if p.start != want {
		p.start = want
		p.fd.Close()
		p.fd = nil
		return false, nil
	}
	return true, nil
}

// wait returns when the process has ended, or when close is called, and then false.
func (p *initProcess) wait() bool {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Read(func(fd uintptr) bool {
		polls := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(polls, 0)
		return err == nil && n > 0
	})
	if err != nil {
		return false
	}
	// Where this process collects orphans, it is ours to collect. Else there is no such child.
	_, _ = unix.Wait4(p.pid, nil, unix.WNOHANG, nil)
	return true
}

// kill ends the process, and with it the container.
func (p *initProcess) kill() error {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return err
	}
	var killed error
	if err := raw.Control(func(fd uintptr) { killed = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) }); err != nil {
		return err
	}
	if errors.Is(killed, unix.ESRCH) {
		return nil
	}
	return killed
}

// close lets go of the process.
func (p *initProcess) close() {
	if p.fd != nil {
		p.fd.Close()
	}
}

// root is the root directory of the container as its processes see it, for as long as the process lives.
func (p *initProcess) root() string { return fmt.Sprintf("/proc/%d/root", p.pid) }

// startTime returns when a process started, in ticks since the machine did.
func startTime(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// proc_pid_stat(5): the second field, in parentheses, can hold anything; the start time is the 22nd.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("process %d: no start time in /proc", pid)
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}

// lives tells whether the process has not ended.
func (p *initProcess) lives() bool {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return false
	}
	lives := false
	err = raw.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		lives = err == nil && n == 0
	})
	return err == nil && lives
}
