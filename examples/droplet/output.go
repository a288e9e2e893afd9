package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/atomicfile"
)

// An output is a file that appears under its name only when it is whole. Until then it has no name, where the file system
// can do that: not even a program that is killed leaves anything.
type output struct {
	*os.File
	name  string
	root  *os.Root         // where it is to be
	named *atomicfile.File // nil where there are files without a name
}

// newOutput makes the file, so that a place that cannot be written to is told before the work is done.
func newOutput(name string, mode fs.FileMode) (*output, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return nil, wrong("%s is a directory: name the file to be written", name)
	}
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, unusable(err)
	}
	o := &output{name: filepath.Base(name), root: root}
	o.File, err = os.OpenFile(filepath.Dir(name), unix.O_TMPFILE|os.O_RDWR, mode)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		if o.named, err = atomicfile.Create(root, ".", mode); err == nil {
			o.File = o.named.File
		}
	}
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = &fs.PathError{Op: "write", Path: name, Err: path.Err} // a temporary name tells nobody anything
		}
		return nil, errors.Join(err, root.Close())
	}
	return o, nil
}

// commit writes the file to disk and gives it its name, in place of what had it.
func (o *output) commit() error {
	if o.named != nil {
		return o.named.Commit(o.name)
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
		return &os.LinkError{Op: "link", Old: "what was written", New: o.name, Err: err}
	}
	if err := o.root.Rename(temp, o.name); err != nil {
		return errors.Join(err, o.root.Remove(temp))
	}
	return dir.Sync()
}

// discard removes the file unless it was committed, and ends the use of its directory.
func (o *output) discard() {
	if o.named != nil {
		_ = o.named.Close() // what cannot be removed now cannot be removed a second time either
	}
	_ = o.File.Close()
	_ = o.root.Close()
}

// A cacheFile is what buildpacks want to keep from one time to the next.
type cacheFile struct {
	old  string  // what is there from the last time; empty if nothing is
	path string  // where the new one goes
	new  *output // nil if none is wanted
}

// openCache finds the cache of the app. Where there is no place for one, it is done without, unless the user named it.
func (s *stagingJob) openCache() (*cacheFile, error) {
	if s.NoCache {
		return &cacheFile{}, nil
	}
	c, err := s.cacheAt(s.Cache)
	if err != nil && s.Cache == "" {
		s.env.screen.line("There is no place for a cache, so the next time takes as long: %v", err)
		return &cacheFile{}, nil
	}
	return c, err
}

func (s *stagingJob) cacheAt(path string) (*cacheFile, error) {
	if path == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		path = filepath.Join(dir, "deakit", "droplet")
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, err
		}
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, cacheName(s.app))
	}
	c := &cacheFile{path: path}
	if _, err := os.Stat(path); err == nil {
		c.old = path
	}
	var err error
	c.new, err = newOutput(path, 0o600) // it may hold what the source does, which may be a secret
	if err != nil {
		return nil, err
	}
	return c, nil
}

// cacheName names the cache of an app by its place, so that apps of one name do not share it.
func cacheName(app string) string {
	sum := sha256.Sum256([]byte(app))
	return filepath.Base(app) + "-" + hex.EncodeToString(sum[:8]) + ".tgz"
}

// commit puts the new cache in place of the old.
func (c *cacheFile) commit(d droplet.Digest) (*fileReport, error) {
	if c.new == nil || d == (droplet.Digest{}) { // none is wanted, or what buildpacks left there is none
		return nil, nil
	}
	if err := c.new.commit(); err != nil {
		return nil, err
	}
	report := newFileReport(c.path, d)
	return &report, nil
}

func (c *cacheFile) discard() {
	if c.new != nil {
		c.new.discard()
	}
}

// writer is where the new cache goes; nil if none is wanted.
func (c *cacheFile) writer() io.Writer {
	if c.new == nil {
		return nil
	}
	return c.new
}
