package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/deakit/deakit/droplet"
)

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
	named := true // by the user, as a file
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path, named = filepath.Join(path, cacheName(s.app)), false
	}
	place, info, err := followed(path)
	switch {
	case err != nil:
		return nil, err
	case info != nil && !info.Mode().IsRegular():
		return nil, wrong("--cache: %s is a %s: name a file or a directory, or choose --no-cache", path, kindOf(info))
	case place == s.output.path:
		return nil, wrong("--cache: %s is the file for the droplet: name another one", path)
	}
	c := &cacheFile{path: path}
	if info != nil {
		if named && !mayBeCache(place) {
			return nil, wrong("--cache: %s is no cache, and would be overwritten: name another file, or remove it", path)
		}
		c.old = place
	}
	c.new, err = newFile(path, place, 0o600) // it may hold what the source does, which may be a secret
	if err != nil {
		return nil, err
	}
	return c, nil
}

// mayBeCache tells whether a file looks like a cache from its beginning: one that is damaged further on is made anew. An empty
// file, as mktemp makes them, is one as well.
func mayBeCache(name string) bool {
	file, err := os.Open(name)
	if err != nil {
		return false
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() == 0 {
		return true
	}
	plain, err := droplet.NewReader(file, droplet.Limits{})
	if err != nil {
		return false
	}
	defer plain.Close()
	members := tar.NewReader(plain)
	first, err := members.Next()
	if err != nil || first.Name != "./" {
		return false
	}
	second, err := members.Next()
	return errors.Is(err, io.EOF) || err == nil && path.Clean(second.Name) != droplet.InfoName
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

// place is where the new cache goes, without links; empty if none is wanted.
func (c *cacheFile) place() string {
	if c.new == nil {
		return ""
	}
	return c.new.path
}

// writer is where the new cache goes; nil if none is wanted.
func (c *cacheFile) writer() io.Writer {
	if c.new == nil {
		return nil
	}
	return c.new
}
