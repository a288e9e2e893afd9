package runc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/supervisor"
)

// An account of a container.
type account struct {
	name     string
	uid, gid int
	home     string
}

// maxAccounts bounds the file of accounts, which processes of the container may have written.
const maxAccounts = 4 << 20

// account finds a user; an empty name stands for the app's. Those that the back end makes are not looked up: nothing that
// happens in the container changes what they mean.
func (c *box) account(name string) (account, error) {
	a, err := c.lookUp(name)
	if c.b.slots.shared() { // all are one
		a.uid, a.gid = nestedUID, nestedUID
	}
	return a, err
}

// appUser is the account of container.AppUser.
func (c *box) appUser() account {
	uid := c.slot.uid
	if c.b.slots.shared() {
		uid = nestedUID
	}
	return account{container.AppUser, uid, uid, container.AppHome}
}

// owner returns the ids that the files of an account have here.
func (c *box) owner(a account) (uid, gid int) {
	if c.b.slots.shared() {
		return 0, 0
	}
	return a.uid + c.b.opts.UserNamespace, a.gid + c.b.opts.UserNamespace
}

func (c *box) lookUp(name string) (account, error) {
	switch name {
	case "", container.AppUser:
		return c.appUser(), nil
	case "root":
		return account{"root", 0, 0, "/root"}, nil
	}
	f, err := c.openFile("/etc/passwd")
	if err != nil {
		return account{}, fmt.Errorf("look up user %q: %w", name, err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(io.LimitReader(f, maxAccounts)); lines.Scan(); {
		// passwd(5): name, password, uid, gid, comment, home, shell
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 6 || fields[0] != name {
			continue
		}
		uid, uidErr := strconv.ParseUint(fields[2], 10, 31)
		gid, gidErr := strconv.ParseUint(fields[3], 10, 31)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return account{}, fmt.Errorf("look up user %q: %w", name, err)
		}
		return account{name, int(uid), int(gid), path.Clean("/" + fields[5])}, nil
	}
	return account{}, fmt.Errorf("the container has no user %q: %w", name, container.ErrInvalid)
}

// rlimits returns the limits that are asked for, none above what the container may have.
func (c *box) rlimits(r container.Rlimits, user account) ([]supervisor.Rlimit, error) {
	var list []supervisor.Rlimit
	for _, l := range []struct {
		resource int
		value    *uint64
	}{
		{unix.RLIMIT_NOFILE, r.NoFile},
		{unix.RLIMIT_NPROC, r.NProc},
		{unix.RLIMIT_FSIZE, r.FSize},
		{unix.RLIMIT_CORE, r.Core},
		{unix.RLIMIT_AS, r.AS},
		{unix.RLIMIT_CPU, r.CPU},
		{unix.RLIMIT_STACK, r.Stack},
	} {
		if l.resource == unix.RLIMIT_NPROC {
			l.value = c.processLimit(l.value, user)
		}
		if l.value == nil {
			continue
		}
		var now unix.Rlimit
		if err := unix.Prlimit(c.init.pid, l.resource, nil, &now); err != nil {
			if errors.Is(err, unix.ESRCH) {
				return nil, container.ErrStopped
			}
			return nil, fmt.Errorf("resource limits of the container: %w", err)
		}
		list = append(list, supervisor.Rlimit{Resource: l.resource, Value: min(*l.value, now.Max)})
	}
	return list, nil
}
