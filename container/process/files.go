package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
	"github.com/deakit/deakit/internal/tarball"
)

// rootfsName is the directory of a container that stands for its root.
const rootfsName = "rootfs"

// makeFiles lays out the directory of a container and returns its root opened.
func makeFiles(dir string, mounts []container.BindMount) (root *os.Root, err error) {
	// Nobody else on the host has any business here.
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("directory %s: %w", dir, container.ErrExists)
		}
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, processesName), 0o700); err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, rootfsName), 0o755); err != nil {
		return nil, err
	}
	if root, err = os.OpenRoot(filepath.Join(dir, rootfsName)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			root.Close()
		}
	}()
	for _, p := range []string{container.AppHome, "/tmp"} {
		if err := root.MkdirAll(p[1:], 0o755); err != nil {
			return nil, err
		}
	}
	for _, m := range mounts {
		if err := link(root, m); err != nil {
			return nil, fmt.Errorf("bind mount at %s: %w", m.Dst, err)
		}
	}
	return root, nil
}

// link makes the symbolic link that stands for a bind mount.
func link(root *os.Root, m container.BindMount) error {
	name := m.Dst[1:]
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return root.Symlink(m.Src, name)
}

// checkMounts refuses bind mounts, all of whose paths are clean, that links cannot stand for.
func checkMounts(mounts []container.BindMount) error {
	for i, m := range mounts {
		if _, err := os.Stat(m.Src); err != nil {
			return fmt.Errorf("source path for bind mount: %w: %w", err, container.ErrInvalid)
		}
		for _, other := range mounts[:i] {
			if covers(other.Dst, m.Dst) || covers(m.Dst, other.Dst) {
				return fmt.Errorf("bind mounts at %q and %q lie in each other: %w", other.Dst, m.Dst, container.ErrUnsupported)
			}
		}
		if covers(m.Dst, container.AppHome) && m.Dst != container.AppHome {
			return fmt.Errorf("bind mount at %q hides %s: %w", m.Dst, container.AppHome, container.ErrUnsupported)
		}
	}
	return nil
}

// covers tells whether p is dir or lies below it; both are clean.
func covers(dir, p string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// place opens the directory below which the path p of the container lies: the container's root, or the source of a bind
// mount. rel is p from there, with a trailing slash if p has one. The caller closes root.
//
// Bind mounts are found in what Create was told: the link in the tree may have been replaced.
func (c *box) place(p string) (root *os.Root, rel string, mount *container.BindMount, err error) {
	if strings.ContainsRune(p, 0) {
		return nil, "", nil, fmt.Errorf("path %q: %w", p, container.ErrInvalid)
	}
	clean := path.Clean("/" + p)
	slash := ""
	if strings.HasSuffix(p, "/") {
		slash = "/"
	}
	for i, m := range c.mounts {
		if !covers(m.Dst, clean) {
			continue
		}
		rel := "." + strings.TrimPrefix(clean, m.Dst) + slash
		root, err := os.OpenRoot(m.Src)
		if errors.Is(err, syscall.ENOTDIR) { // one file is mounted
			rel = filepath.Base(m.Src) + strings.TrimPrefix(rel, ".")
			root, err = os.OpenRoot(filepath.Dir(m.Src))
		}
		return root, rel, &c.mounts[i], err
	}
	root, err = c.root.OpenRoot(".")
	return root, "." + clean + slash, nil, err
}

// openDir opens a directory of the container, its home if dir is empty.
func (c *box) openDir(dir string) (*os.File, error) {
	if dir == "" {
		dir = container.AppHome
	}
	root, rel, _, err := c.place(dir)
	if err != nil {
		return nil, fmt.Errorf("working directory %q: %w", dir, err)
	}
	defer root.Close()
	f, err := root.OpenFile(path.Clean(rel), os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("working directory %q: %w", dir, err)
	}
	return f, nil
}

// StreamIn unpacks a tar stream. user has no effect: all belongs to the account of this process. ctx is looked at
// between chunks; a reader that blocks is the caller's to close.
func (c *box) StreamIn(ctx context.Context, dir, user string, tar io.Reader) error {
	if err := c.streamIn(ctx, dir, tar); err != nil {
		return fmt.Errorf("stream into %q of container %s: %w", dir, c.handle, err)
	}
	return nil
}

func (c *box) streamIn(ctx context.Context, dir string, tar io.Reader) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	if err := c.active(); err != nil {
		return err
	}
	root, rel, mount, err := c.place(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if mount != nil && !mount.Writable {
		return fmt.Errorf("bind mount at %s is read-only: %w", mount.Dst, container.ErrInvalid)
	}
	ctx, done := containerkit.Within(ctx, c.ctx)
	defer done()
	// Droplets that were made in a container link to its absolute paths.
	return tarball.Extract(ctx, root, rel, tar, tarball.ExtractOptions{AbsoluteLinks: true})
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
	root, rel, _, err := c.place(p)
	if err != nil {
		return nil, err
	}
	if _, err := root.Lstat(path.Clean(rel)); err != nil {
		root.Close()
		return nil, err
	}
	opts := tarball.Options{Name: path.Base(path.Clean("/" + p))}
	if strings.HasSuffix(p, "/") || opts.Name == "/" {
		opts.Name = "."
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.present(); err != nil { // again: now Destroy waits for us
		root.Close()
		return nil, err
	}
	stream, produce := containerkit.StreamOut(ctx, c.ctx, root, rel, opts)
	c.b.work.Go(produce)
	return stream, nil
}
