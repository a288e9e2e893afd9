// Package atomicfile replaces files so that a reader, or a machine that loses power, finds the old content or the new
// one and nothing in between. It does not lock: of two writers the later one wins.
package atomicfile

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// TempPrefix begins the name of every temporary file, so that an owner of a directory can remove what a crash left.
const TempPrefix = ".incoming-"

// WriteFile replaces the file called name by data, with exactly this mode, whatever the umask. The temporary file
// stands in the same directory, which must exist. A symbolic link is replaced, not followed. When it returns nil,
// content and name are on disk.
func WriteFile(name string, data []byte, mode fs.FileMode) error {
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer root.Close()
	return WriteFileIn(root, filepath.Base(name), data, mode)
}

// WriteFileIn is WriteFile for a name below root.
func WriteFileIn(root *os.Root, name string, data []byte, mode fs.FileMode) error {
	f, err := Create(root, path.Dir(name), mode)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Commit(name)
}

// A File is a temporary file that Commit gives its name. Close removes it unless it was committed; the owner closes it
// in every case.
type File struct {
	*os.File
	root *os.Root
	temp string
}

// Create makes a temporary file in the directory dir of root. root must stay open until the file is closed.
func Create(root *os.Root, dir string, mode fs.FileMode) (*File, error) {
	temp := path.Join(dir, TempPrefix+rand.Text())
	f, err := root.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make temporary file: %w", err)
	}
	file := &File{File: f, root: root, temp: temp}
	if err := f.Chmod(mode); err != nil {
		file.Close()
		return nil, fmt.Errorf("make temporary file: %w", err)
	}
	return file, nil
}

// Commit writes the content to disk, closes the file and gives it the name below root, in place of what had it. The
// name must be on the same file system.
func (f *File) Commit(name string) error {
	if err := f.commit(name); err != nil {
		return fmt.Errorf("put %s in place: %w", name, err)
	}
	return nil
}

func (f *File) commit(name string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.File.Close(); err != nil {
		return err
	}
	if err := f.root.Rename(f.temp, name); err != nil {
		return err
	}
	f.temp = ""
	dir, err := f.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// Close closes the file and removes it unless it was committed. It may be called again.
func (f *File) Close() error {
	_ = f.File.Close() // of a file that is thrown away, or closed already
	if f.temp == "" {
		return nil
	}
	err := f.root.Remove(f.temp)
	f.temp = ""
	return err
}
