package rootfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Inside of a user namespace, the kernel does not show a directory without what is mounted below it: that could reveal what
// the mount was to hide. So a base with mounts is put together of its directories that have none. A directory that has some
// is the writable layer's, with copies of the small files in it; as with root, what is mounted in the base is not seen.

// largestCopy is the size of the largest file that is copied, in bytes.
const largestCopy = 1 << 20

// parts is a base that is put together.
type parts struct {
	*Layer
	upper, base *os.Root
	points      []string // where something is mounted in the base
	count       int      // of overlays
}

func (l *Layer) mountParts(points []string) (err error) {
	p := &parts{Layer: l, points: points}
	if p.upper, err = os.OpenRoot(Upper(l.Dir)); err != nil {
		return err
	}
	defer p.upper.Close()
	if p.base, err = os.OpenRoot(l.Base); err != nil {
		return err
	}
	defer p.base.Close()
	merged := filepath.Join(l.Dir, MergedName)
	if err := unix.Mount(Upper(l.Dir), merged, "", unix.MS_BIND, ""); err != nil {
		return &os.PathError{Op: "bind", Path: merged, Err: err}
	}
	return p.directory(".")
}

// directory puts together what is in a directory of the base with mounts below it.
func (p *parts) directory(name string) error {
	dir, err := p.base.Open(name)
	if errors.Is(err, fs.ErrPermission) {
		return nil // the container may not see it either
	}
	if err != nil {
		return err
	}
	entries, err := dir.ReadDir(-1)
	dir.Close()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := p.entry(path.Join(name, e.Name()), e); err != nil {
			return err
		}
	}
	return nil
}

func (p *parts) entry(name string, e fs.DirEntry) error {
	if slices.Contains(p.empty, name) {
		return nil
	}
	_, err := p.upper.Lstat(name)
	ours := err == nil
	if e.IsDir() {
		return p.subdirectory(name, e)
	}
	if ours || slices.Contains(p.points, filepath.Join(p.Base, name)) {
		return nil
	}
	switch e.Type() {
	case fs.ModeSymlink:
		target, err := p.base.Readlink(name)
		if err != nil {
			return err
		}
		return p.upper.Symlink(target, name)
	case 0:
		return p.file(name)
	}
	return nil
}

func (p *parts) subdirectory(name string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	if err := p.upper.Mkdir(name, 0o700); err == nil {
		err = p.upper.Chmod(name, info.Mode()&(fs.ModePerm|fs.ModeSticky))
		if err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	at := filepath.Join(p.Base, name)
	if slices.Contains(p.points, at) {
		return nil
	}
	if slices.ContainsFunc(p.points, func(point string) bool { return strings.HasPrefix(point, at+"/") }) {
		return p.directory(name)
	}
	p.count++
	work := strconv.Itoa(p.count)
	if err := os.Mkdir(filepath.Join(p.Dir, diskName, "work", work), 0o700); err != nil {
		return err
	}
	err = p.overlay(name, work)
	if _, gone := p.base.Lstat(name); errors.Is(gone, fs.ErrNotExist) {
		return nil // the host removed it just now
	}
	return err
}

// file copies a file that is small and that anybody may read.
func (p *parts) file(name string) error {
	in, err := p.base.Open(name)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > largestCopy || info.Mode().Perm()&0o004 == 0 {
		return err
	}
	out, err := p.upper.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(in, largestCopy))
	return errors.Join(err, out.Close(), p.upper.Chmod(name, info.Mode().Perm()))
}

// seen returns those of the paths of the base of which the layer hides nothing.
func (l *Layer) seen(points []string) []string {
	return slices.DeleteFunc(points, func(point string) bool {
		return slices.ContainsFunc(l.empty, func(dir string) bool {
			dir = filepath.Join(l.Base, dir)
			return point == dir || strings.HasPrefix(point, dir+"/")
		})
	})
}

// without returns the paths but one.
func without(paths []string, one string) []string {
	return slices.DeleteFunc(paths, func(p string) bool { return p == one })
}
