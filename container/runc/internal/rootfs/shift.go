package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// ShiftedIDs is how many ids are shifted, from 0 on.
const ShiftedIDs = 65536

// A Shift makes files of one id belong to another one: those of containers with a user namespace, to whom a base looks as
// it does to the host. The kernel shows the base so (mount_setattr(2), MOUNT_ATTR_IDMAP); the layer is made so.
type Shift struct {
	first     int
	namespace *os.File // a user namespace with such a map
}

// NewShift shifts id 0 to first, and others likewise. The caller closes it.
func NewShift(first int) (*Shift, error) {
	ids := []syscall.SysProcIDMap{{HostID: first, Size: ShiftedIDs}}
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed; the open file holds the namespace
	if err != nil {
		return nil, err
	}
	return &Shift{first, f}, nil
}

// Close lets go of the namespace. It may be called again, and of nil.
func (s *Shift) Close() {
	if s != nil {
		s.namespace.Close()
	}
}

// shift gives what is in the layer to the ids of the container.
func (f *filler) shift() error {
	if f.Shift == nil {
		return nil
	}
	return fs.WalkDir(f.upper.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := f.upper.Lstat(name)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return errors.ErrUnsupported
		}
		first := f.Shift.first
		if err := f.upper.Lchown(name, int(st.Uid)+first, int(st.Gid)+first); err != nil {
			return err
		}
		if info.Mode().Type() == fs.ModeSymlink {
			return nil
		}
		return f.upper.Chmod(name, info.Mode()) // which a change of owner may take from
	})
}

// mountShifted shows the base with other owners for as long as it takes to lay it below the layer.
func (l *Layer) mountShifted() error {
	at := filepath.Join(l.Dir, baseName)
	if err := os.Mkdir(at, 0o700); err != nil {
		return err
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, l.Base, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return &os.PathError{Op: "open_tree", Path: l.Base, Err: err}
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(l.Shift.namespace.Fd())}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("show %s with other owners, which its file system may not be able to: %w", l.Base, err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "move_mount", Path: at, Err: err}
	}
	overlay := *l
	overlay.Base = at
	return errors.Join(overlay.overlay("", ""), unix.Unmount(at, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH), os.Remove(at))
}
