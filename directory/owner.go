package directory

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var errRights = errors.New("rights of the process")

// credentials are of a user and group with whose rights files are opened. Unset they are those of the process.
type credentials struct {
	set      bool
	uid, gid uint32
}

// dropsRights reports whether there are rights to be dropped.
func (t Tree) dropsRights() bool { return t.AsOwner && os.Geteuid() == 0 }

// owner returns the credentials that the tree wants for what is below Dir, which is open.
func (t Tree) owner(dir int) (credentials, error) {
	if !t.dropsRights() {
		return credentials{}, nil
	}
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Fstat(dir, &st) }); err != nil {
		return credentials{}, err
	}
	return credentialsOf(st.Uid, st.Gid), nil
}

// credentialsOf leaves root what it is.
func credentialsOf(uid, gid uint32) credentials {
	return credentials{set: uid != 0, uid: uid, gid: gid}
}

// do runs f, which only opens and looks at files, with the rights of c. They are those of the thread for that time: user
// and group of file access, no further groups, and, as for any user but root, no capability to pass over permissions.
func (c credentials) do(f func() error) error {
	if !c.set {
		return f()
	}
	groups, err := syscall.Getgroups()
	if err != nil {
		return fmt.Errorf("%w: get the groups of the process: %w", errRights, err)
	}
	runtime.LockOSThread()
	// A user namespace may forbid it, to root too; the groups are then not ones that root would have.
	dropped := len(groups) > 0 && setThreadGroups(nil)
	defer func() {
		back := assume(credentials{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())})
		if !back || dropped && !setThreadGroups(groups) {
			// The thread stays locked, and ends along with the goroutine: nothing else must run on it.
			panic("directory: cannot take back the rights of the process")
		}
		runtime.UnlockOSThread()
	}()
	if !assume(c) {
		return fmt.Errorf("%w: it may not read as user %d; give it CAP_SETUID and CAP_SETGID, or unset AsOwner", errRights, c.uid)
	}
	return f()
}

// assume changes user and group of file access of this thread, and reports whether they are as wanted.
func assume(c credentials) bool {
	_, _ = unix.SetfsgidRetGid(int(c.gid))
	_, _ = unix.SetfsuidRetUid(int(c.uid))
	gid, _ := unix.SetfsgidRetGid(-1) // tells what is, and changes nothing
	uid, _ := unix.SetfsuidRetUid(-1)
	return gid == int(c.gid) && uid == int(c.uid)
}

// setThreadGroups is setgroups(2) for this thread alone; the one of package syscall is for all.
func setThreadGroups(groups []int) bool {
	ids := make([]uint32, max(1, len(groups)))
	for i, g := range groups {
		ids[i] = uint32(g)
	}
	_, _, errno := unix.RawSyscall(sysSetgroups, uintptr(len(groups)), uintptr(unsafe.Pointer(&ids[0])), 0)
	return errno == 0
}
