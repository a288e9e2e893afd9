package runc_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc"
)

// attempts are system calls that no process of a container may make. Their arguments are so wrong that one that may be
// made fails for another reason than a lack of permission, or does no harm.
var attempts = map[string]func() error{
	"mount":             func() error { return unix.Mount("", "/none", "", unix.MS_BIND, "") },
	"umount":            func() error { return unix.Unmount("/none", 0) },
	"pivot_root":        func() error { return unix.PivotRoot("/none", "/none") },
	"chroot":            func() error { return unix.Chroot("/none") },
	"open_tree":         func() error { _, err := unix.OpenTree(-1, "none", 1<<20); return err },
	"fsopen":            func() error { _, err := unix.Fsopen("none", 0); return err },
	"unshare a user":    func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
	"unshare mounts":    func() error { return unix.Unshare(unix.CLONE_NEWNS) },
	"setns":             func() error { return unix.Setns(-1, 0) },
	"load a module":     func() error { return unix.InitModule(nil, "") },
	"load a file":       func() error { return unix.FinitModule(-1, "", 0) },
	"kexec":             func() error { return unix.KexecFileLoad(-1, -1, "", 0) },
	"reboot":            func() error { return unix.Reboot(0) },
	"set the clock":     func() error { return unix.ClockSettime(unix.CLOCK_REALTIME, nil) },
	"set the name":      func() error { return unix.Sethostname(make([]byte, 1000)) },
	"swap":              func() error { return number(unix.SYS_SWAPON, 0, 0) },
	"account":           func() error { return unix.Acct("/none/none") },
	"read the log":      func() error { _, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, nil); return err },
	"open by a handle":  func() error { return number(unix.SYS_OPEN_BY_HANDLE_AT, 0, 0) },
	"bpf":               func() error { return number(unix.SYS_BPF, 1000, 0) },
	"count events":      func() error { return number(unix.SYS_PERF_EVENT_OPEN, 0, 0) },
	"user faults":       func() error { return number(unix.SYS_USERFAULTFD, 0, 0) },
	"io_uring":          func() error { return number(unix.SYS_IO_URING_SETUP, 0, 0) },
	"keys":              func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false); return err },
	"add a key":         func() error { return number(unix.SYS_ADD_KEY, 0, 0) },
	"trace process 1":   func() error { return unix.PtraceAttach(1) },
	"quotas":            func() error { return number(unix.SYS_QUOTACTL, 0, 0) },
	"sockets of the VM": func() error { _, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0); return err },
	"raw packets":       func() error { _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); return err },
	"raw IP":            func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP); return err },
	"crypto of the kernel": func() error {
		_, err := unix.Socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
		return err
	},
	"files of process 1": func() error { _, err := unix.Open("/proc/1/fd/3", unix.O_PATH, 0); return err },
	"a device":           func() error { return unix.Mknod("/tmp/device", unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0))) },
	"a lower score":      func() error { return lowerScore() },
}

// number makes a system call of which nothing but its number matters.
func number(nr, first, second uintptr) error {
	if _, _, err := unix.Syscall6(nr, first, second, 0, 0, 0, 0); err != 0 {
		return err
	}
	return nil
}

func lowerScore() error {
	fd, err := unix.Open("/proc/self/oom_score_adj", unix.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte("-1000"))
	return err
}

// attempt makes all of them, and prints those that were not forbidden.
func attempt(string) error {
	var allowed []string
	for name, call := range attempts {
		switch err := call(); {
		case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOSYS):
		default:
			allowed = append(allowed, fmt.Sprintf("%s: %v", name, err))
		}
	}
	slices.Sort(allowed)
	fmt.Print(strings.Join(allowed, "\n"))
	return nil
}

// TestSystemCalls lets processes, with and without the privileges of root, ask the kernel for what it must not do.
func TestSystemCalls(t *testing.T) {
	b := open(t, runc.Options{})
	c := create(t, b, withHelper(t))
	for _, user := range []string{container.AppUser, "root"} {
		spec := helperSpec("attempt")
		spec.User = user
		assert.Empty(t, output(t, c, spec), "allowed for %s", user)
	}
}
