package userns

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A holder is the process that sleeps in a namespace.
type holder struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // ticks since the machine started
	Boot  string `json:"boot"`  // of the machine, without which a pid means nothing
}

// abandoned is after how long the process ends by itself that holds a namespace which nobody finds: whoever made it may
// have been killed.
const abandoned = 10 * time.Minute

// startHolder makes both namespaces around a new process, and gives the user namespace its ids. missing is why there is
// one only.
func startHolder(ctx context.Context, lasting bool) (h holder, missing, err error) {
	ids, missing := ownSubIDs()
	if missing == nil {
		h, err = newHolder(lasting, func(pid int) error { return ids.give(ctx, pid) })
		if err == nil || ctx.Err() != nil {
			return h, nil, errors.Join(err, ctx.Err())
		}
		missing = err // of one that may not, under no_new_privs for example, there is more to be had than nothing
	}
	h, err = newHolder(lasting, nil)
	return h, missing, err
}

// newHolder starts the process. give gives it its ids; nil: that of this user.
func newHolder(lasting bool, give func(pid int) error) (h holder, err error) {
	cmd := exec.Command("sleep", strconv.Itoa(int(abandoned.Seconds())))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS}
	if lasting {
		cmd.Args[1], cmd.SysProcAttr.Setsid = "infinity", true
	}
	cmd.Dir, cmd.Env = "/", []string{}
	if give == nil {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		return h, err
	}
	defer func() {
		if err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it was killed
		}
	}()
	if give != nil {
		if err := give(cmd.Process.Pid); err != nil {
			return h, err
		}
	}
	h.PID, h.Boot = cmd.Process.Pid, bootID()
	h.Start, err = startTime(h.PID)
	return h, err
}

// subIDs are the first of the ranges of ids that a user may give to namespaces, and how many ids each has.
type subIDs struct{ uid, gid, uids, gids int }

// mapTime bounds how long newuidmap and newgidmap may take, which may ask a directory service.
const mapTime = 20 * time.Second

// give writes the maps of a process's user namespace by the programs that may.
func (s subIDs) give(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, mapTime)
	defer cancel()
	for _, m := range []struct {
		program           string
		own, first, count int
	}{
		{"newuidmap", os.Getuid(), s.uid, s.uids},
		{"newgidmap", os.Getgid(), s.gid, s.gids},
	} {
		cmd := exec.CommandContext(ctx, m.program, strconv.Itoa(pid), "0", strconv.Itoa(m.own), "1",
			"1", strconv.Itoa(m.first), strconv.Itoa(m.count))
		cmd.WaitDelay = time.Second // should it have left something behind
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %.500s", m.program, cmp.Or(ctx.Err(), err), bytes.TrimSpace(out))
		}
	}
	return nil
}

// ownSubIDs returns the ids that this user may give to a namespace, and fails where there are none.
func ownSubIDs() (ids subIDs, err error) {
	for _, program := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(program); err != nil {
			return ids, err
		}
	}
	name := ""
	if me, err := user.Current(); err == nil {
		name = me.Username
	}
	if ids.uid, ids.uids, err = largest("/etc/subuid", name, os.Getuid()); err != nil {
		return ids, err
	}
	ids.gid, ids.gids, err = largest("/etc/subgid", name, os.Getuid())
	return ids, err
}

// maxSubIDs bounds the files of ids that are read.
const maxSubIDs = 1 << 20

// largest returns the largest range of a file, subuid(5) or subgid(5), that is a user's.
func largest(file, name string, uid int) (first, count int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSubIDs))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) != 3 || fields[0] != name && fields[0] != strconv.Itoa(uid) || fields[0] == "" {
			continue
		}
		begin, beginErr := strconv.Atoi(fields[1])
		size, sizeErr := strconv.Atoi(fields[2])
		if beginErr == nil && sizeErr == nil && size > count {
			first, count = begin, size
		}
	}
	if count == 0 {
		return 0, 0, fmt.Errorf("%s has no range of ids for %s", file, name)
	}
	return first, count, nil
}

// maxHolder bounds the file that tells of a holder.
const maxHolder = 4 << 10

// errOfNoUse: the file does not tell of a holder.
var errOfNoUse = errors.New("it does not tell of a namespace")

// readHolder reads a file of this user: that of another could tell of any process.
func readHolder(file string) (h holder, err error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return h, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return h, os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return h, fmt.Errorf("%s is no file that only this user can write: remove it, or choose another directory", file)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxHolder))
	if err != nil {
		return h, err
	}
	if err := json.Unmarshal(text, &h); err != nil || h.PID <= 1 {
		return h, errOfNoUse
	}
	return h, nil
}

// lives tells whether the process is there, and no other that has its number by now.
func (h holder) lives() bool {
	start, err := startTime(h.PID)
	return err == nil && start == h.Start && h.Boot == bootID()
}

// end kills the process.
func (h holder) end() error {
	fd, err := unix.PidfdOpen(h.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	if !h.lives() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	// It may be a child of this process, which collects it, or else of another.
	_, _ = unix.Wait4(h.PID, nil, 0, nil)
	return nil
}

func bootID() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // where the kernel hides it, start times must do
	return strings.TrimSpace(string(text))
}

// startTime returns when a process started that has not ended, in ticks since the machine did.
func startTime(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// proc_pid_stat(5): the second field, in parentheses, can hold anything; the start time is the 22nd.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 || fields[0][0] == 'Z' {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}
