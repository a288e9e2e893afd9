package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// UpdateFile is WriteFile, and does nothing where the file has this content and mode already: what is written at each start,
// mostly unchanged, must not fail because the disk is full.
func UpdateFile(name string, data []byte, mode fs.FileMode) error {
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer root.Close()
	return UpdateFileIn(root, filepath.Base(name), data, mode)
}

// UpdateFileIn is UpdateFile for a name below root.
func UpdateFileIn(root *os.Root, name string, data []byte, mode fs.FileMode) error {
	if has(root, name, data, mode) {
		return nil
	}
	return WriteFileIn(root, name, data, mode)
}

// has is false also where it cannot be told.
func has(root *os.Root, name string, data []byte, mode fs.FileMode) bool {
	info, err := root.Lstat(name)
	if err != nil || info.Mode() != mode || info.Size() != int64(len(data)) { // of a regular file the mode has no other bits
		return false
	}
	f, err := root.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	there, err := io.ReadAll(io.LimitReader(f, int64(len(data))+1))
	return err == nil && bytes.Equal(there, data)
}

// IsFull tells whether something failed because a disk is full, or what a user may have of it is used up.
func IsFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
