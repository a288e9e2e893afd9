package directory

import (
	"errors"
	"fmt"
	"os"
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
// for this tree, os.Root decides.
func (l Location) openConfined() (int, credentials, error) {
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
	return l.openByRoot(name)
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

// openByRoot is slower, and knows what an absolute link means.
func (t Tree) openByRoot(name string) (fd int, owner credentials, err error) {
	root, err := t.openRoot()
	if err != nil {
		return -1, owner, err
	}
	defer root.Close()
	if owner, err = t.ownerOf(root); err != nil {
		return -1, owner, err
	}
	fd, err = openInRoot(root, owner, name)
	if escapes(err) {
		// An absolute link, or one that takes the way through a directory above: what it means depends on the tree. The
		// answer is a path without links, and is opened just as confined, so that it need not be right for long.
		if name, err = t.resolve(owner, name); err == nil {
			fd, err = openInRoot(root, owner, name)
		}
	}
	switch {
	case escapes(err): // also where what was no link a moment ago is one now
		return -1, owner, ErrNotAccessible
	case err != nil:
		return -1, owner, err
	}
	return fd, owner, nil
}

func openInRoot(root *os.Root, owner credentials, name string) (fd int, err error) {
	var f *os.File
	err = owner.do(func() error {
		f, err = root.OpenFile(name, openFlags, 0)
		return err
	})
	if err != nil {
		return -1, err
	}
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// openRoot opens Dir.
func (t Tree) openRoot() (*os.Root, error) {
	if t.ContainerRoot == "" {
		return os.OpenRoot(t.Dir)
	}
	below, err := t.belowContainerRoot()
	if err != nil {
		return nil, err
	}
	container, err := os.OpenRoot(t.ContainerRoot)
	if err != nil || below == "." {
		return container, err
	}
	defer container.Close()
	root, err := container.OpenRoot(below)
	if escapes(err) {
		return nil, ErrNotAccessible
	}
	return root, err
}

func (t Tree) belowContainerRoot() (string, error) {
	below, err := filepath.Rel(t.ContainerRoot, t.Dir)
	if err != nil || !filepath.IsLocal(below) {
		return "", fmt.Errorf("directory %s is not below container root %s", t.Dir, t.ContainerRoot)
	}
	return below, nil
}

// escapes reports whether os.Root refused a path. It exports no value for that, but all its other errors are errnos.
func escapes(err error) bool {
	var errno unix.Errno
	return err != nil && !errors.As(err, &errno) && !errors.Is(err, ErrNotAccessible) && !errors.Is(err, errRights)
}

// openWithoutLinks walks down one component at a time, so that a link that someone puts in the way is never followed.
func (t Tree) openWithoutLinks(name string) (fd int, owner credentials, err error) {
	dir, err := unix.Open(t.Dir, placeFlags, 0)
	if err != nil {
		return -1, owner, err
	}
	if owner, err = t.owner(dir); err != nil {
		_ = unix.Close(dir)
		return -1, owner, err
	}
	err = owner.do(func() error {
		fd, err = descend(dir, components(name))
		return err
	})
	return fd, owner, err
}

// descend takes possession of dir.
func descend(dir int, parts []string) (int, error) {
	defer func() { _ = unix.Close(dir) }()
	if len(parts) == 0 {
		return openNoFollow(dir, ".", openFlags)
	}
	for _, part := range parts[:len(parts)-1] {
		next, err := openNoFollow(dir, part, placeFlags)
		if err != nil {
			return -1, err
		}
		_ = unix.Close(dir)
		dir = next
	}
	return openNoFollow(dir, parts[len(parts)-1], openFlags)
}

// openNoFollow opens an entry of a directory that is no link.
func openNoFollow(dir int, name string, flags int) (fd int, err error) {
	if name == ".." {
		return -1, ErrNotAccessible
	}
	err = ignoringEINTR(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_NOFOLLOW, 0)
		return err
	})
	if errors.Is(err, unix.ELOOP) {
		return -1, ErrNotAccessible
	}
	return fd, err
}
