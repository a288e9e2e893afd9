// Package rmtree removes directory trees that others have filled, also where directories deny their owner access.
package rmtree

import (
	"errors"
	"io/fs"
	"os"
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

// In is Path for a name below root, and touches nothing outside of it.
func In(root *os.Root, name string) error {
	err := root.RemoveAll(name)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err := root.Chmod(name, 0o700); err != nil {
		return err
	}
	below, err := root.OpenRoot(name)
	if err != nil {
		return err
	}
	defer below.Close()
	err = fs.WalkDir(below.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = below.Chmod(p, 0o700) // before it is read
		}
		return err
	})
	if err != nil {
		return err
	}
	return root.RemoveAll(name)
}
