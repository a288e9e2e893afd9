package runc

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
)

// Names in a depot that are not of containers, whose handles begin with no dot.
const (
	lockName      = ".deakit-runc" // makes a directory a depot of this package
	basesName     = ".bases"
	templatesName = ".templates"
	stateName     = ".runc" // what runc remembers
)

// A depot is the directory of a back end, which it holds the lock of.
type depot struct {
	dir  string // absolute, without links
	mark string // eight hexadecimal digits that stand for it on this machine
	root *os.Root
	lock *os.File

	handles handles // in the lock, whose content nothing else needs
}

// openDepot opens and locks a depot, and makes it if need be.
func openDepot(dir string) (_ *depot, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	d := &depot{}
	if d.dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if d.dir, err = filepath.EvalSymlinks(d.dir); err != nil {
		return nil, err
	}
	if err := checkOwner(d.dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == lockName }) {
		return nil, fmt.Errorf("it holds %q: %w", entries[0].Name(), ErrNotDepot)
	}
	d.lock, err = os.OpenFile(filepath.Join(d.dir, lockName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.lock.Close()
		}
	}()
	err = unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrDepotInUse
	}
	if err != nil {
		return nil, err
	}
	d.handles.file = d.lock
	if err := d.handles.read(); err != nil {
		return nil, err
	}
	if d.mark, err = markOf(d.dir); err != nil {
		return nil, err
	}
	d.root, err = os.OpenRoot(d.dir)
	return d, err
}

// checkOwner refuses a directory that others can change: they could put links where we mount, or other containers' files.
func checkOwner(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return err
	}
	switch {
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("it belongs to user %d, who could change it: chown it: %w", st.Uid, container.ErrInvalid)
	case st.Mode&0o002 != 0, st.Mode&0o020 != 0 && int(st.Gid) != os.Getegid():
		return fmt.Errorf("others may write to it (mode %#o): chmod go-w: %w", st.Mode&0o7777, container.ErrInvalid)
	}
	return nil
}

// passable fails if a user without privileges, as root of a user namespace is, cannot get to what is in a directory.
func passable(dir string) error {
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("root of a user namespace cannot get to containers through %s: chmod o+x, or choose another depot: %w",
				at, container.ErrInvalid)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// markOf returns what stands for a directory. The name alone could mean one in another mount namespace, the inode alone
// one that was deleted.
func markOf(dir string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", dir, st.Dev, st.Ino))
	return hex.EncodeToString(sum[:4]), nil
}

func (d *depot) path(names ...string) string {
	return filepath.Join(append([]string{d.dir}, names...)...)
}

func (d *depot) close() error { return errors.Join(d.root.Close(), d.lock.Close()) }
