package runc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/rootfs"
	"github.com/deakit/deakit/internal/containerkit"
	"github.com/deakit/deakit/internal/tarball"
)

// open opens a path of the container as its own processes would: links lead to where they lead for them, and mounts are
// there, as long as one of them lives. Later, mounts are found by their names.
//
// The kernel keeps it below the root of the container, whatever is changed meanwhile.
func (c *box) open(p string, flags int) (*os.File, error) {
	if strings.ContainsRune(p, 0) {
		return nil, fmt.Errorf("path %q: %w", p, container.ErrInvalid)
	}
	p = path.Clean("/" + p)
	root, rest, err := c.openRoot(p)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(int(root.Fd()), rest, &how)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) { // something was renamed just now
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: p, Err: err}
		}
		return os.NewFile(uintptr(fd), p), nil
	}
}

// openRoot opens the directory from which p, which is clean, is to be looked up, and returns what to look up.
func (c *box) openRoot(p string) (*os.File, string, error) {
	if root, err := os.OpenFile(c.init.root(), unix.O_PATH|unix.O_DIRECTORY, 0); err == nil {
		// The number may belong to another process by now; if not now, then it did not before.
		if c.init.lives() {
			return root, p, nil
		}
		root.Close()
	}
	for _, m := range slices.Backward(c.mounts) { // later ones cover earlier ones
		if p != m.Dst && !strings.HasPrefix(p, m.Dst+"/") {
			continue
		}
		rest := path.Clean("/" + strings.TrimPrefix(p, m.Dst))
		root, err := os.OpenFile(m.Src, unix.O_PATH|unix.O_DIRECTORY, 0)
		if errors.Is(err, unix.ENOTDIR) { // one file is mounted
			rest = filepath.Base(m.Src)
			root, err = os.OpenFile(filepath.Dir(m.Src), unix.O_PATH|unix.O_DIRECTORY, 0)
		}
		return root, rest, err
	}
	root, err := os.OpenFile(c.path(rootfs.MergedName), unix.O_PATH|unix.O_DIRECTORY, 0)
	return root, p, err
}

// openFile opens a regular file for reading.
func (c *box) openFile(p string) (*os.File, error) {
	f, err := c.open(p, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: p, Err: errors.New("it is no regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openDir opens a directory for what os.Root does.
func (c *box) openDir(p string) (*os.Root, error) {
	f, err := c.open(p, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
}

// maxLinks is how many links to what does not exist openParent follows, one after the other.
const maxLinks = 8

// openParent opens the lowest directory on the way to p that exists, and returns the rest of the way. A link to what does
// not exist, as /app is in the beginning, leads to where that would be.
func (c *box) openParent(p string) (root *os.Root, rest string, err error) {
	links := 0
	for p = path.Clean("/" + p); ; {
		root, err = c.openDir(p)
		if !errors.Is(err, fs.ErrNotExist) || p == "/" {
			return root, rest, err
		}
		dir, name := path.Split(p)
		if target, ok := c.readLink(dir, name); ok && links < maxLinks {
			links++
			if !path.IsAbs(target) {
				target = path.Join(dir, target)
			}
			p = path.Clean(target)
			continue
		}
		p, rest = path.Clean(dir), path.Join(name, rest)
	}
}

// readLink returns where a link leads, if it is one.
func (c *box) readLink(dir, name string) (string, bool) {
	root, err := c.openDir(dir)
	if err != nil {
		return "", false
	}
	defer root.Close()
	target, err := root.Readlink(name)
	return target, err == nil
}

// StreamIn unpacks a tar stream, into a directory that the user may write to. ctx is looked at between chunks; a reader
// that blocks is the caller's to close.
func (c *box) StreamIn(ctx context.Context, dir, user string, tar io.Reader) error {
	if err := c.streamIn(ctx, dir, user, tar); err != nil {
		return fmt.Errorf("stream into %q of container %s: %w", dir, c.handle, err)
	}
	return nil
}

func (c *box) streamIn(ctx context.Context, dir, user string, tar io.Reader) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	err := c.active()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	who, err := c.account(user)
	if err != nil {
		return err
	}
	uid, gid := c.owner(who)
	root, rest, err := c.openParent(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if who.uid != 0 {
		if err := writable(root, who.name, uid, gid); err != nil {
			return err
		}
	}
	ctx, done := containerkit.Within(ctx, c.ctx)
	defer done()
	err = tarball.Extract(ctx, root, rest, tar, tarball.ExtractOptions{
		// Droplets that were made in a container link to its absolute paths.
		AbsoluteLinks: true,
		Owner:         &tarball.Owner{UID: uid, GID: gid},
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// writable tells whether a user may make files in a directory. We may everywhere; but processes of the container can have
// put a link there, and what they could not write we must not write for them.
func writable(dir *os.Root, name string, uid, gid int) error {
	info, err := dir.Stat(".")
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.ErrUnsupported
	}
	allowed := info.Mode().Perm() & 0o007
	switch {
	case int(st.Uid) == uid:
		allowed = info.Mode().Perm() >> 6
	case int(st.Gid) == gid:
		allowed = info.Mode().Perm() >> 3
	}
	if allowed&0o003 != 0o003 {
		return fmt.Errorf("user %s may not write there: %w", name, fs.ErrPermission)
	}
	return nil
}

// StreamOut returns a tar stream, which ends early when ctx does.
func (c *box) StreamOut(ctx context.Context, p string) (io.ReadCloser, error) {
	r, err := c.streamOut(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("stream out %q of container %s: %w", p, c.handle, err)
	}
	return r, nil
}

func (c *box) streamOut(ctx context.Context, p string) (io.ReadCloser, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	clean := path.Clean("/" + p)
	opts := tarball.Options{Name: path.Base(clean)}
	source := path.Base(clean)
	var root *os.Root
	var err error
	if contents := strings.HasSuffix(p, "/") || clean == "/"; contents {
		opts.Name, source = ".", "."
		root, err = c.openDir(clean)
	} else {
		root, err = c.openDir(path.Dir(clean)) // the last name may be a link, which is what is wanted then
	}
	if err != nil {
		return nil, err
	}
	if _, err := root.Lstat(source); err != nil {
		root.Close()
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.present(); err != nil { // again: now Destroy waits for us
		root.Close()
		return nil, err
	}
	stream, produce := containerkit.StreamOut(ctx, c.ctx, root, source, opts)
	c.b.work.Go(produce)
	return stream, nil
}
