// Package rmtree removes directory trees that others have filled, also where directories deny their owner access.
package rmtree

import (
	"cmp"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// Path removes what stands at a path. It is no error when there is nothing.
func Path(name string) error {
	root, err := os.OpenRoot(filepath.Dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	return In(root, filepath.Base(name))
}

// In is Path for a name below root, and touches nothing outside of it. However deep the tree is, it takes a bounded
// number of file descriptors and little memory.
func In(root *os.Root, name string) error {
	err := root.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	top, err := open(root, name, err)
	if err != nil {
		return err
	}
	err = remover{top}.empty(top, ".", 1)
	top.Close()
	if err != nil {
		return err
	}
	return root.Remove(name)
}

// maxDepth is how many directories are open at once.
const maxDepth = 64

// A remover empties the directory top. What stands too deep below it is moved up to it first.
type remover struct{ top *os.Root }

// empty removes what is in a directory, which is called at below top. It goes on after a failure.
func (r remover) empty(dir *os.Root, at string, depth int) error {
	for {
		names, err := list(dir)
		if err != nil {
			return err
		}
		var failed error
		progress := false
		for _, name := range names {
			if err := r.remove(dir, name, at, depth); err != nil {
				failed = cmp.Or(failed, err)
			} else {
				progress = true
			}
		}
		if !progress {
			return failed // nil when there were no names
		}
	}
}

// list returns some of the names in a directory.
func list(dir *os.Root) ([]string, error) {
	d, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(1024)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

func (r remover) remove(dir *os.Root, name, at string, depth int) error {
	err := dir.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	below, err := open(dir, name, err)
	if err != nil {
		return err
	}
	defer below.Close()
	at = path.Join(at, name)
	if depth == maxDepth {
		return r.top.Rename(at, ".deep-"+rand.Text())
	}
	if err := r.empty(below, at, depth+1); err != nil {
		return err
	}
	return dir.Remove(name)
}

// open opens a directory that could not be removed for the given reason, which it returns when it is no directory. Links
// are not followed, also not those that take its place meanwhile.
func open(parent *os.Root, name string, reason error) (*os.Root, error) {
	info, err := parent.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, reason
	}
	if info.Mode().Perm()&0o700 != 0o700 {
		_ = parent.Chmod(name, 0o700) // where it is needed and fails, the next step does
	}
	dir, err := parent.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	opened, err := dir.Stat(".")
	if err == nil && !os.SameFile(info, opened) {
		err = &fs.PathError{Op: "remove", Path: name, Err: errors.New("it was replaced meanwhile")}
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}
