package directory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

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

	// AsOwner reads what is below Dir with the rights of the user and group that Dir belongs to, and without the further
	// groups of the process, where the process is root (see setfsuid(2)); elsewhere it does nothing. What that user may
	// not read is ErrNotAccessible, then, whatever has gone wrong with confinement. The directories on the way to Dir need
	// not be open to him. The kernel makes no core dumps of a process that has done so.
	//
	// With NoLinks, Dir may be far above what belongs to a user. The rights are then those of the owner of the first directory
	// on the way to the path that belongs neither to root nor to the owner of Dir, if there is one.
	AsOwner bool
}

// A Location is a path in a Tree.
type Location struct {
	Tree
	Path string

	// Missing is the error to answer with when there is nothing at Path. Nil stands for the answer that dea_ng's
	// directory server gives for a file that vanished after the DEA had seen it.
	Missing error

	remembered *Remote // where this comes from without a question, if it does
}

// Open opens the file or directory for reading; the caller closes it. The error is one that errors.Is finds to be
// fs.ErrNotExist, or ErrNotAccessible when the path leads out of the tree, may not be read, is leased, or is no regular file or
// directory. Any other is a syscall.Errno, or tells of a Tree that makes no sense.
func (l Location) Open() (*os.File, error) {
	h, err := l.open()
	if err != nil {
		return nil, err
	}
	return h.file(), nil
}

// Real returns the absolute path of the host, with all links and ".." resolved, of what Open would open. Its errors are
// those of Open.
func (l Location) Real() (string, error) {
	h, err := l.open()
	if err != nil {
		return "", err
	}
	defer h.close()
	return pathOf(h.fd)
}

// A handle is an open regular file or directory. It is no os.File yet because a small file is sent sooner without one.
type handle struct {
	fd    int
	stat  unix.Stat_t
	name  string // last component of the path that was asked for
	owner credentials
}

func (l Location) open() (*handle, error) {
	fd, owner, err := l.openConfined()
	if err != nil {
		return nil, l.because(err, owner)
	}
	h := &handle{fd: fd, name: filepath.Base(l.Path), owner: owner}
	if err := h.examine(); err != nil {
		h.close()
		return nil, classify(err)
	}
	return h, nil
}

// because classifies an error, with what those who run the server want to know of it.
func (l Location) because(err error, owner credentials) error {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err
	}
	switch err := classify(errno); {
	case errno == unix.EACCES, errno == unix.EPERM:
		uid := uint32(os.Geteuid())
		if owner.set {
			uid = owner.uid
		}
		return fmt.Errorf("%w as user %d", err, uid)
	case errors.Is(err, fs.ErrNotExist) && unix.Access(l.Dir, unix.F_OK) == unix.ENOENT:
		return errGone
	default:
		return err
	}
}

// examine refuses what is neither a regular file nor a directory.
func (h *handle) examine() error {
	if err := ignoringEINTR(func() error { return unix.Fstat(h.fd, &h.stat) }); err != nil {
		return err
	}
	if !h.isDir() && h.stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return notAccessible("it is neither a file nor a directory")
	}
	return nil
}

func (h *handle) isDir() bool         { return h.stat.Mode&unix.S_IFMT == unix.S_IFDIR }
func (h *handle) modified() time.Time { return time.Unix(h.stat.Mtim.Unix()) }
func (h *handle) close()              { _ = unix.Close(h.fd) }

// file hands the descriptor over to an os.File, which is to be closed instead.
func (h *handle) file() *os.File { return os.NewFile(uintptr(h.fd), h.name) }

// pathOf asks the kernel for the present path of an open file.
func pathOf(fd int) (string, error) {
	name, err := os.Readlink(procPath(fd))
	if err != nil {
		return "", fmt.Errorf("find the path of an open file: %w; is /proc mounted?", plain(err))
	}
	return name, nil
}

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// classify turns an error of the system into one of the kinds that Open promises.
func classify(err error) error {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case unix.ENOENT, unix.ENOTDIR, unix.ENAMETOOLONG, unix.ELOOP, unix.EINVAL:
		return fs.ErrNotExist
	case unix.EACCES, unix.EPERM, unix.ENXIO, unix.ENODEV, unix.EWOULDBLOCK: // the last where somebody holds a lease of the file
		return notAccessible("%v", errno)
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

func ignoringEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
