package directory

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const maxLinks = 40 // as the kernel does

// resolve follows the links in name, a path relative to Dir, with the rights of owner, and returns where it ends as a path
// relative to Dir that is free of links. It is ErrNotAccessible when that is outside.
func (t Tree) resolve(owner credentials, name string) (string, error) {
	w := walk{inContainer: t.ContainerRoot != ""}
	top, start := t.Dir, "."
	var err error
	if w.inContainer {
		top = t.ContainerRoot
		if start, err = t.belowContainerRoot(); err != nil {
			return "", err
		}
	} else if w.names, err = namesOf(t.Dir); err != nil {
		return "", err
	}
	if w.root, err = os.OpenRoot(top); err != nil {
		return "", err
	}
	defer w.root.Close()
	err = owner.do(func() error {
		if err := w.follow(components(start)); err != nil {
			return err
		}
		w.home = slices.Clone(w.at)
		return w.follow(components(name))
	})
	if err != nil {
		return "", err
	}
	if len(w.at) < len(w.home) || !slices.Equal(w.at[:len(w.home)], w.home) {
		return "", ErrNotAccessible
	}
	return join(w.at[len(w.home):]), nil
}

// namesOf returns the names that absolute links may have for a directory: as given, and without links.
func namesOf(dir string) (names []string, err error) {
	for _, name := range []func(string) (string, error){filepath.Abs, filepath.EvalSymlinks} {
		dir, err := name(dir)
		if err != nil {
			return nil, err
		}
		names = append(names, strings.TrimSuffix(dir, "/"))
	}
	return names, nil
}

// A walk goes through a tree as a process of the container would, link by link.
type walk struct {
	root        *os.Root
	inContainer bool     // root is that of a container
	names       []string // of root, for absolute links; not in a container
	home        []string // the components of Dir below root
	at          []string // components below root, none of them a link
	links       int
}

func (w *walk) follow(todo []string) error {
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		if part == ".." {
			if err := w.up(); err != nil {
				return err
			}
			continue
		}
		name := join(append(w.at, part))
		info, err := w.root.Lstat(name)
		if err != nil {
			return err
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if todo, err = w.through(name, todo); err != nil {
				return err
			}
		case !info.IsDir() && len(todo) > 0:
			return unix.ENOTDIR
		default:
			w.at = append(w.at, part)
		}
	}
	return nil
}

// up is "..": it stays in the root directory of a container, and leaves any other tree.
func (w *walk) up() error {
	switch {
	case len(w.at) > 0:
		w.at = w.at[:len(w.at)-1]
	case !w.inContainer:
		return ErrNotAccessible
	}
	return nil
}

// through returns what is to be walked when the link name comes before todo.
func (w *walk) through(name string, todo []string) ([]string, error) {
	if w.links++; w.links > maxLinks {
		return nil, unix.ELOOP
	}
	target, err := w.root.Readlink(name)
	if err != nil {
		return nil, err
	}
	if filepath.IsAbs(target) {
		if target, err = w.absolute(target); err != nil {
			return nil, err
		}
		w.at = nil
	}
	return append(components(target), todo...), nil
}

// absolute returns the target of an absolute link relative to the top of the walk.
func (w *walk) absolute(target string) (string, error) {
	if w.inContainer {
		return target, nil
	}
	for _, dir := range w.names {
		if rest, inside := strings.CutPrefix(target, dir); inside && (rest == "" || rest[0] == '/') {
			return rest, nil
		}
	}
	return "", ErrNotAccessible
}

// components splits a path; empty ones and "." mean nothing.
func components(name string) []string {
	return slices.DeleteFunc(strings.Split(name, "/"), func(c string) bool { return c == "" || c == "." })
}

// join is the opposite of components.
func join(parts []string) string {
	if len(parts) == 0 {
		return "."
	}
	return strings.Join(parts, "/")
}
