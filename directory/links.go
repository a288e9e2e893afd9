package directory

import (
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds of a walk: links that it follows, as the kernel does, components that it passes, and directories that it holds open.
const (
	maxLinks = 40
	maxSteps = 4096
	maxHeld  = 256
)

var errLeadsOut = notAccessible("the path, or a link on it, leads out of the directory")

// lookFlags open a place for nothing but to look at it and to go on from there: no FIFO is waited for, no device does anything,
// and a link is not followed but opened itself.
const lookFlags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC

// A walk goes through a tree as a process of the container would, link by link. It holds all directories from the top to where it
// is, each opened in the one before, and ".." goes back to one of these: whatever is renamed meanwhile, it never leaves the tree.
type walk struct {
	inContainer bool     // the top is the root directory of a container
	names       []string // of the top, for absolute links; not in a container
	dirs        []int    // from the top on
	last        string   // where the walk has ended: an entry of the last of dirs that is no directory, or "."
	links       int
	steps       int
}

func (w *walk) follow(todo []string) error {
	for len(todo) > 0 {
		if w.steps++; w.steps > maxSteps {
			return unix.ENAMETOOLONG
		}
		part := todo[0]
		todo = todo[1:]
		switch part {
		case ".":
			continue
		case "..":
			if err := w.up(); err != nil {
				return err
			}
			continue
		}
		target, err := w.into(part)
		switch {
		case err != nil:
			return err
		case target != "":
			if todo, err = w.through(target, todo); err != nil {
				return err
			}
		case w.last != "." && len(todo) > 0:
			return unix.ENOTDIR
		}
	}
	return nil
}

// into goes to an entry of the directory where the walk is, unless that is a link, whose target it returns then.
func (w *walk) into(name string) (target string, err error) {
	var fd int
	if err := ignoringEINTR(func() error {
		fd, err = unix.Openat(w.here(), name, lookFlags, 0)
		return err
	}); err != nil {
		return "", err
	}
	var st unix.Stat_t
	err = ignoringEINTR(func() error { return unix.Fstat(fd, &st) })
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if len(w.dirs) < maxHeld {
			w.dirs = append(w.dirs, fd)
			return "", nil
		}
		err = unix.ENAMETOOLONG
	}
	defer func() { _ = unix.Close(fd) }()
	if err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return readLink(fd)
	}
	w.last = name
	return "", nil
}

func (w *walk) here() int { return w.dirs[len(w.dirs)-1] }

// up is "..": it stays in the root directory of a container, and leaves any other tree.
func (w *walk) up() error {
	switch {
	case len(w.dirs) > 1:
		w.back(len(w.dirs) - 1)
	case !w.inContainer:
		return errLeadsOut
	}
	return nil
}

// back goes back to the directory up to which that many are held.
func (w *walk) back(held int) {
	for _, fd := range w.dirs[held:] {
		_ = unix.Close(fd)
	}
	w.dirs = w.dirs[:held]
}

// through returns what is to be walked when a link to target comes before todo.
func (w *walk) through(target string, todo []string) ([]string, error) {
	if w.links++; w.links > maxLinks {
		return nil, unix.ELOOP
	}
	if filepath.IsAbs(target) {
		var err error
		if target, err = w.absolute(target); err != nil {
			return nil, err
		}
		w.back(1)
	}
	return slices.Concat(steps(target), todo), nil
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
	return "", errLeadsOut
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

// readLink returns what the link that fd is leads to.
func readLink(fd int) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlinkat(fd, "", buf[:])
	if err == nil && n == 0 {
		err = unix.ENOENT
	}
	return string(buf[:max(n, 0)]), err
}

// steps are the components of a path. One that ends with a slash has "." at the end, which takes a directory.
func steps(name string) []string {
	parts := strings.Split(name, "/")
	if len(parts) > 1 && parts[len(parts)-1] == "" {
		parts[len(parts)-1] = "."
	}
	return slices.DeleteFunc(parts, func(c string) bool { return c == "" })
}

// components are those of a path; empty ones and "." mean nothing.
func components(name string) []string {
	return slices.DeleteFunc(strings.Split(name, "/"), func(c string) bool { return c == "" || c == "." })
}
