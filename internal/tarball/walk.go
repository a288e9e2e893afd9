package tarball

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// replace calls make, and once more after it removed what stood in the way. A directory in the way must be empty.
func replace(parent *os.Root, base string, make func() error) error {
	err := make()
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := parent.Remove(base); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return make()
}

// open returns the directory dir below base, made if missing, reached through real directories only. It stays open, and
// the extractor's, until another one is asked for: members of one directory mostly follow each other.
func (x *extractor) open(dir string) (*os.Root, error) {
	if dir == "." {
		return x.base, nil
	}
	if x.parent != nil && dir == x.parentName {
		return x.parent, nil
	}
	at, rest := x.base, dir
	if x.parent != nil && strings.HasPrefix(dir, x.parentName+"/") {
		at, rest = x.parent, dir[len(x.parentName)+1:]
		x.parent = nil
	}
	for part := range strings.SplitSeq(rest, "/") {
		next, err := x.step(at, part, dir)
		if at != x.base {
			at.Close()
		}
		if err != nil {
			return nil, err
		}
		at = next
	}
	x.closeParent()
	x.parent, x.parentName = at, dir
	return at, nil
}

func (x *extractor) step(at *os.Root, part, dir string) (*os.Root, error) {
	info, err := at.Lstat(part)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := at.Mkdir(part, 0o755); err != nil {
			return nil, err
		}
		if o := x.opts.Owner; o != nil {
			if err := at.Lchown(part, o.UID, o.GID); err != nil {
				return nil, err
			}
		}
	case err != nil:
		return nil, err
	case info.Mode().Type() == fs.ModeSymlink:
		return nil, refuse(dir, ErrLink, "%q is a symbolic link", part)
	case !info.IsDir():
		return nil, refuse(dir, ErrPath, "%q is no directory", part)
	}
	return at.OpenRoot(part)
}

func (x *extractor) closeParent() {
	if x.parent != nil {
		x.parent.Close()
		x.parent = nil
	}
}

// applyPending takes access from directories, the deepest first, so that all of them can still be reached.
func (x *extractor) applyPending() error {
	names := slices.Sorted(maps.Keys(x.pending))
	for _, name := range slices.Backward(names) {
		parent, err := x.open(path.Dir(name))
		if err != nil {
			return err
		}
		if err := x.setDirectory(parent, path.Base(name), x.pending[name]); err != nil {
			return fmt.Errorf("member %q: %w", shorten(name), err)
		}
	}
	return nil
}
