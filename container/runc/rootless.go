package runc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/cgroup"
	"github.com/deakit/deakit/container/runc/internal/rootfs"
)

// unprivilegedUIDs is where the user ids of containers begin, of those of a user namespace.
const unprivilegedUIDs = 10_000

// adjust fits the options to what this process may do.
func (b *Backend) adjust() {
	if !b.ids.Inside {
		if b.opts.UIDs == 0 && b.opts.UserNamespace > 0 {
			b.opts.UIDs = unprivilegedUIDs
		} else if b.opts.UIDs == 0 {
			b.opts.UIDs = defaultUIDs
		}
		return
	}
	b.opts.UserNamespace = 0
	if b.opts.UIDs == 0 {
		b.opts.UIDs = min(unprivilegedUIDs, b.ids.Count/2)
	}
	// Whose interfaces and rules these were is the machine's, and no user's.
	b.opts.Network.Host = true
}

// checkIDs refuses user ids that there are not.
func (b *Backend) checkIDs() error {
	count, of := b.ids.Count, "this user namespace has"
	if b.opts.UserNamespace > 0 {
		count, of = rootfs.ShiftedIDs, "containers have"
	}
	if b.opts.UIDs >= count && count > 1 {
		return fmt.Errorf("option UIDs is %d, and %s ids from 0 to %d only: %w", b.opts.UIDs, of, count-1, container.ErrInvalid)
	}
	return nil
}

// slotCount is how many containers there can be.
func (b *Backend) slotCount() int {
	const nobody = 65534 // is somebody
	count := maxShared
	if b.net != nil {
		count = b.net.Size()
	}
	if b.opts.UserNamespace > 0 || b.ids.Inside && b.ids.Count > 1 {
		count = min(count, max(min(b.ids.Count, nobody)-b.opts.UIDs, 1))
	}
	return count
}

// homes are the directories of the user who is root of this user namespace, without links: what the environment says, and
// what the machine knows, if that is his.
func (b *Backend) homes() (list []string) {
	if !b.ids.Inside {
		return nil
	}
	add := func(dir string, ok func(string) bool) {
		dir, err := filepath.EvalSymlinks(dir)
		if err == nil && filepath.IsAbs(dir) && dir != "/" && ok(dir) && !slices.Contains(list, dir) {
			list = append(list, dir)
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		add(home, func(string) bool { return true })
	}
	if caller, err := user.LookupId(strconv.Itoa(b.ids.Outer(0))); err == nil {
		add(caller.HomeDir, func(dir string) bool {
			info, err := os.Stat(dir) // accounts of services may have /usr/sbin, which is root's
			return err == nil && int(info.Sys().(*syscall.Stat_t).Uid) == os.Geteuid()
		})
	}
	return list
}

// findGroups finds the control groups that this process may make groups in.
func (b *Backend) findGroups() (*cgroup.Hierarchy, error) {
	if b.ids.Inside {
		return cgroup.FindDelegated()
	}
	return cgroup.Find()
}

// namespace stands for the namespaces that containers' mounts are in, where those can end before the containers.
func (b *Backend) namespace() string {
	if !b.ids.Inside {
		return ""
	}
	user, userErr := os.Readlink("/proc/self/ns/user")
	mount, mountErr := os.Readlink("/proc/self/ns/mnt")
	if errors.Join(userErr, mountErr) != nil {
		return "unknown"
	}
	return user + " " + mount
}

// adjustMounts replaces what takes power over the network or a certain group.
func (b *Backend) adjustMounts(spec *specs.Spec) {
	for i := range spec.Mounts {
		switch m := &spec.Mounts[i]; m.Destination {
		case "/sys":
			// The kernel lets only those see it anew to whom the network belongs. What is mounted below comes along.
			m.Type, m.Source, m.Options = "bind", "/sys", []string{"rbind", "nosuid", "noexec", "nodev", "rro"}
		case "/dev/pts":
			const tty = 5
			if b.ids.Count <= tty {
				m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, "gid=") })
			}
		}
	}
	spec.Linux.MaskedPaths = append(spec.Linux.MaskedPaths, "/sys/fs/cgroup")
}

// endLost ends what is left of a container that is not known any more, where no control group tells its processes: the
// one that runc made, with which the kernel ends all others.
func (b *Backend) endLost(ctx context.Context, handle string) error {
	if !b.ids.Inside {
		return nil
	}
	text, err := os.ReadFile(b.depot.path(stateName, handle, "state.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil // what there is waits for more of a runc that has ended, and ends
	}
	var state struct {
		PID   int    `json:"init_process_pid"`
		Start uint64 `json:"init_process_start"` // ticks
	}
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err != nil {
		return fmt.Errorf("read what runc remembers: %w", err)
	}
	init := initProcess{pid: state.PID, start: state.Start}
	lives, err := init.reopen()
	if err != nil || !lives || !firstOfItsNamespace(state.PID) {
		init.close()
		return err
	}
	defer init.close()
	for init.lives() {
		if err := init.kill(); err != nil {
			return fmt.Errorf("kill process %d: %w", state.PID, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d does not end: %w", state.PID, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
	_, _ = unix.Wait4(state.PID, nil, unix.WNOHANG, nil) // if it is ours to collect
	return nil
}

// firstOfItsNamespace tells whether a process is process 1 of a pid namespace below this one.
func firstOfItsNamespace(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(numbers)
			return len(fields) > 1 && fields[len(fields)-1] == "1"
		}
	}
	return false
}
