package directory

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// openFlags do not wait for a writer of a FIFO, and never make a terminal the controlling one.
const openFlags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC

// placeFlags open a directory for nothing but to start from.
const placeFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

// openConfined opens what the location names, of whatever kind it is, and nothing outside of the tree. It also returns
// with whose rights.
//
// The kernel does it in one call (openat2, Linux 5.6). Where it cannot, or refuses the way for a reason that may not hold
// for this tree, a walk decides.
func (l Location) openConfined() (int, credentials, error) {
	if !filepath.IsAbs(l.Dir) {
		return -1, credentials{}, fmt.Errorf("directory of a Tree is %q; give an absolute path", l.Dir)
	}
	name := l.relative()
	if l.NoLinks {
		return l.openWithoutLinks(name)
	}
	fd, owner, err := l.openByKernel(name)
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // EPERM: a seccomp filter
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EAGAIN): // leads out, or cannot be told for renames meanwhile
	default:
		return fd, owner, err
	}
	return l.openByWalk(name)
}

func (l Location) relative() string {
	if name := strings.TrimLeft(l.Path, "/"); name != "" {
		return name
	}
	return "."
}

func (t Tree) openByKernel(name string) (fd int, owner credentials, err error) {
	dir, err := t.openDir()
	if err != nil {
		return -1, owner, err
	}
	defer func() { _ = unix.Close(dir) }()
	if owner, err = t.owner(dir); err != nil {
		return -1, owner, err
	}
	err = owner.do(func() error {
		fd, err = openBeneath(dir, name, openFlags)
		return err
	})
	return fd, owner, err
}

// openDir opens Dir, as a place and not for reading.
func (t Tree) openDir() (int, error) {
	top, below := t.Dir, "."
	if t.ContainerRoot != "" {
		var err error
		if below, err = t.belowContainerRoot(); err != nil {
			return -1, err
		}
		top = t.ContainerRoot
	}
	dir, err := unix.Open(top, placeFlags, 0)
	if err != nil || below == "." {
		return dir, err
	}
	defer func() { _ = unix.Close(dir) }()
	return openBeneath(dir, below, placeFlags)
}

func openBeneath(dir int, name string, flags uint64) (fd int, err error) {
	how := unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	err = ignoringEINTR(func() error {
		fd, err = unix.Openat2(dir, name, &how)
		return err
	})
	return fd, err
}

// openByWalk is slower, and knows what an absolute link means.
func (t Tree) openByWalk(name string) (fd int, owner credentials, err error) {
	w := walk{inContainer: t.ContainerRoot != "", last: "."}
	defer func() { w.back(0) }()
	home, err := t.begin(&w)
	if err != nil {
		return -1, owner, err
	}
	defer func() { _ = unix.Close(home.fd) }()
	if owner, err = t.owner(home.fd); err != nil {
		return -1, owner, err
	}
	err = owner.do(func() error {
		if err := w.follow(steps(name)); err != nil {
			return err
		}
		if below, err := home.holds(w.dirs); err != nil || !below {
			return cmp.Or(err, errLeadsOut)
		}
		fd, err = openNoFollow(w.here(), w.last, openFlags)
		return err
	})
	return fd, owner, err
}

// A homeDir is Dir, open, and how many directories of the walk are above it.
type homeDir struct{ fd, depth int }

// begin opens the top of the walk, and walks to Dir.
func (t Tree) begin(w *walk) (home homeDir, err error) {
	top, start := t.Dir, "."
	if w.inContainer {
		top = t.ContainerRoot
		if start, err = t.belowContainerRoot(); err != nil {
			return home, err
		}
	} else if w.names, err = namesOf(t.Dir); err != nil {
		return home, err
	}
	fd, err := unix.Open(top, placeFlags, 0)
	if err != nil {
		return home, err
	}
	w.dirs = []int{fd}
	for _, part := range components(start) {
		if link, err := w.into(part); err != nil || link != "" {
			return home, cmp.Or(err, notAccessible("%s is a link on the way to the directory", part)) // a home that is a link leads where an app wants it
		}
	}
	if w.last != "." {
		return home, unix.ENOTDIR
	}
	fd, err = unix.FcntlInt(uintptr(w.here()), unix.F_DUPFD_CLOEXEC, 0)
	return homeDir{fd, len(w.dirs) - 1}, err
}

// holds reports whether Dir is among the directories that a walk has come through.
func (h homeDir) holds(dirs []int) (bool, error) {
	if len(dirs) <= h.depth {
		return false, nil
	}
	var a, b unix.Stat_t
	if err := errors.Join(unix.Fstat(h.fd, &a), unix.Fstat(dirs[h.depth], &b)); err != nil {
		return false, err
	}
	return a.Dev == b.Dev && a.Ino == b.Ino, nil
}

func (t Tree) belowContainerRoot() (string, error) {
	below, err := filepath.Rel(t.ContainerRoot, t.Dir)
	if err != nil || !filepath.IsLocal(below) {
		return "", fmt.Errorf("directory %s is not below container root %s", t.Dir, t.ContainerRoot)
	}
	return below, nil
}
