package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/atomicfile"
)

// An output is a file that appears under its name only when it is whole. Until then it has no name, where the file system
// can do that: not even a program that is killed leaves anything. Devices and FIFOs are no such files: they are written to.
type output struct {
	*os.File
	path  string           // absolute, links followed
	root  *os.Root         // where it is to be; nil for what is written to
	named *atomicfile.File // nil where there are files without a name
	stop  func() bool      // ends the watch over writing to a FIFO
}

// newOutput makes the file, so that a place that cannot be written to is told before the work is done. A FIFO waits for its
// reader. ctx ends that, and writing to one.
func newOutput(ctx context.Context, name string, mode fs.FileMode) (*output, error) {
	path, info, err := followed(name)
	if err != nil {
		return nil, err
	}
	switch {
	case info == nil:
	case info.IsDir():
		return nil, wrong("%s is a directory: name the file to be written", name)
	case isStdout(info):
		return nil, wrong("%s is standard output, where the result is told: name a file", name)
	case info.Mode()&fs.ModeNamedPipe != 0:
		return openFIFO(ctx, name)
	case info.Mode()&fs.ModeCharDevice != 0:
		return openDevice(name)
	case !info.Mode().IsRegular():
		return nil, wrong("%s is a %s: name a file", name, kindOf(info))
	}
	return newFile(name, path, mode)
}

// followed finds what a name stands for that is to be written to: an absolute path without links, and what is there, nil if
// that is nothing.
func followed(name string) (string, fs.FileInfo, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(name); err == nil {
			return "", nil, wrong("%s is a link that leads nowhere: remove it, or choose another name", name)
		}
		dir, err := resolved(filepath.Dir(name))
		return filepath.Join(dir, filepath.Base(name)), nil, err
	}
	if err != nil {
		return "", nil, missing(name, err)
	}
	if !info.Mode().IsRegular() && !info.IsDir() {
		return name, info, nil // a pipe behind /dev/stdout has no path
	}
	path, err := resolved(name)
	return path, info, err
}

// resolved returns the absolute path of what is there, without links.
func resolved(name string) (string, error) {
	path, err := filepath.Abs(name)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return "", missing(name, err)
	}
	return path, nil
}

// isStdout tells of a file, or a pipe, whether results go there as well. What a device makes of both is its business.
func isStdout(info fs.FileInfo) bool {
	stdout, err := os.Stdout.Stat()
	return err == nil && os.SameFile(stdout, info) && info.Mode()&fs.ModeDevice == 0
}

// kindOf names what is no file.
func kindOf(info fs.FileInfo) string {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeNamedPipe != 0:
		return "FIFO"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeCharDevice != 0:
		return "device"
	case mode&fs.ModeDevice != 0:
		return "block device"
	}
	return "file of another kind"
}

func openDevice(name string) (*output, error) {
	file, err := os.OpenFile(name, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	return &output{File: file, path: name}, nil
}

// openFIFO waits until there is somebody who reads.
func openFIFO(ctx context.Context, name string) (*output, error) {
	for {
		file, err := os.OpenFile(name, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			o := &output{File: file, path: name}
			o.stop = context.AfterFunc(ctx, func() { _ = file.SetWriteDeadline(time.Now()) }) // else the reader decides
			return o, nil
		}
		if !errors.Is(err, unix.ENXIO) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// newFile makes a file that gets its path in the end. name is for people.
func newFile(name, path string, mode fs.FileMode) (*output, error) {
	dir := filepath.Dir(path)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, missing(name, err)
	}
	o := &output{path: path, root: root}
	o.File, err = os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, mode)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		if o.named, err = atomicfile.Create(root, ".", mode); err == nil {
			o.File = o.named.File
		}
	}
	if err != nil {
		var failed *fs.PathError
		if errors.As(err, &failed) {
			err = &fs.PathError{Op: "write", Path: name, Err: failed.Err} // a temporary name tells nobody anything
		}
		return nil, errors.Join(err, root.Close())
	}
	return o, nil
}

// commit writes the file to disk and gives it its name, in place of what had it.
func (o *output) commit() error {
	base := filepath.Base(o.path)
	switch {
	case o.root == nil:
		return o.Close()
	case o.named != nil:
		return o.named.Commit(base)
	}
	if err := o.Sync(); err != nil {
		return err
	}
	dir, err := o.root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	temp := atomicfile.TempPrefix + rand.Text()
	self := fmt.Sprintf("/proc/self/fd/%d", o.Fd())
	if err := unix.Linkat(unix.AT_FDCWD, self, int(dir.Fd()), temp, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &os.LinkError{Op: "link", Old: "what was written", New: base, Err: err}
	}
	if err := o.root.Rename(temp, base); err != nil {
		return errors.Join(err, o.root.Remove(temp))
	}
	return dir.Sync()
}

// discard removes the file unless it was committed, and ends the use of its directory.
func (o *output) discard() {
	if o.named != nil {
		_ = o.named.Close() // what cannot be removed now cannot be removed a second time either
	}
	if o.stop != nil {
		o.stop()
	}
	_ = o.File.Close()
	if o.root != nil {
		_ = o.root.Close()
	}
}
