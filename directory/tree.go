package directory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Tree is a directory of the host below which files are shown. Nothing outside of it is ever opened, whatever links
// the app makes and however it moves directories about meanwhile.
//
// A path is relative to Dir, with or without a leading slash, and may contain "..", "." and links that stay inside. An
// absolute link is taken for a path of the host, and must name something in Dir; with ContainerRoot it is taken for a
// path of the container.
type Tree struct {
	// Dir is the directory that is shown: an absolute path of the host. Its own components may be links, unless
	// ContainerRoot is set.
	Dir string

	// ContainerRoot is the directory of the host that processes of the container know as "/": Dir itself, or one above
	// it. Dir is opened beneath it, and absolute links start there. Empty: there is no such directory.
	ContainerRoot string

	// NoLinks refuses every link below Dir. It is for paths that someone else has resolved already.
	NoLinks bool
}

// A Location is a path in a Tree.
type Location struct {
	Tree
	Path string

	// Missing is the error to answer with when there is nothing at Path. Nil stands for the answer that dea_ng's
	// directory server gives for a file that vanished after the DEA had seen it.
	Missing error
}

// openFlags do not wait for a writer of a FIFO, and never make a terminal the controlling one.
const openFlags = os.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY

// Open opens the file or directory for reading; the caller closes it. The error is one that errors.Is finds to be
// fs.ErrNotExist, or ErrNotAccessible when the path leads out of the tree, may not be read, or is no regular file or
// directory. Any other is a syscall.Errno, or tells of a Tree that makes no sense.
func (l Location) Open() (*os.File, error) {
	f, _, err := l.open()
	return f, err
}

func (l Location) open() (*os.File, fs.FileInfo, error) {
	f, err := l.openConfined()
	if err != nil {
		return nil, nil, classify(err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, nil, classify(err)
	}
	if m := info.Mode(); !m.IsRegular() && !m.IsDir() {
		_ = f.Close()
		return nil, nil, ErrNotAccessible
	}
	return f, info, nil
}

// Real returns the absolute path of the host, with all links and ".." resolved, of what Open would open. Its errors are
// those of Open.
func (l Location) Real() (string, error) {
	f, err := l.Open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	return pathOf(f)
}

// pathOf asks the kernel for the present path of an open file.
func pathOf(f *os.File) (string, error) {
	name, err := os.Readlink(procPath(int(f.Fd())))
	if err != nil {
		return "", fmt.Errorf("find the path of an open file: %w; is /proc mounted?", plain(err))
	}
	return name, nil
}

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func (l Location) openConfined() (*os.File, error) {
	name := strings.TrimLeft(l.Path, "/")
	if name == "" {
		name = "."
	}
	if l.NoLinks {
		return l.openWithoutLinks(name)
	}
	root, err := l.openRoot()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(name, openFlags, 0)
	if !escapes(err) {
		return f, err
	}
	// An absolute link, or one that takes the way through a directory above: what it means depends on the tree. The
	// answer is a path without links, and is opened just as confined, so that it need not be right for long.
	if name, err = l.resolve(name); err != nil {
		return nil, err
	}
	if f, err = root.OpenFile(name, openFlags, 0); escapes(err) {
		return nil, ErrNotAccessible
	}
	return f, err
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

// openWithoutLinks walks down one component at a time, so that a link that someone puts in the way is never followed.
func (t Tree) openWithoutLinks(name string) (*os.File, error) {
	dir, err := unix.Open(t.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(dir) }()
	parts := components(name)
	if len(parts) == 0 {
		parts = []string{"."}
	}
	for i, part := range parts {
		if part == ".." {
			return nil, ErrNotAccessible
		}
		flags := openFlags
		if i < len(parts)-1 {
			flags = unix.O_PATH | unix.O_DIRECTORY
		}
		next, err := unix.Openat(dir, part, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ELOOP) {
			return nil, ErrNotAccessible
		}
		if err != nil {
			return nil, err
		}
		_ = unix.Close(dir)
		dir = next
	}
	fd := dir
	dir = -1
	return os.NewFile(uintptr(fd), filepath.Join(t.Dir, name)), nil
}

// escapes reports whether os.Root refused a path. It exports no value for that, but all its other errors are errnos.
func escapes(err error) bool {
	var errno unix.Errno
	return err != nil && !errors.As(err, &errno)
}

// classify turns an error of the system into one of the kinds that Open promises.
func classify(err error) error {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case unix.ENOENT, unix.ENOTDIR, unix.ENAMETOOLONG, unix.ELOOP, unix.EINVAL:
		return fs.ErrNotExist
	case unix.EACCES, unix.EPERM, unix.ENXIO, unix.ENODEV:
		return ErrNotAccessible
	}
	return errno
}

// plain strips the path of the host from an error of the system.
func plain(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
