package bundle

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// Link makes the link of a bundle, in place of one to another version.
func (s *Store) Link(b Bundle) error {
	if err := s.MkdirAll(string(b.Kind), 0o755); err != nil {
		return err
	}
	return s.Symlink(b.Link(), "../"+b.Path())
}

// Symlink makes a link to target, or replaces a link. There is never none under the name. Something else that has the name
// is not removed.
func (s *Store) Symlink(name, target string) error {
	if now, err := s.root.Readlink(name); err == nil && now == target {
		return nil
	}
	info, err := s.root.Lstat(name)
	if err == nil && info.Mode().Type() != fs.ModeSymlink {
		return fmt.Errorf("%s is no link: remove it", path.Join(s.root.Name(), name))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	aside := path.Join(path.Dir(name), asidePrefix+rand.Text())
	if err := s.root.Symlink(target, aside); err != nil {
		return err
	}
	if err := s.root.Rename(aside, name); err != nil {
		_ = s.root.Remove(aside) // Sweep does otherwise
		return err
	}
	return nil
}

// unlink removes a link, and nothing else.
func (s *Store) unlink(name string) error {
	if _, err := s.root.Readlink(name); err != nil {
		return nil
	}
	if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// KeepLinks removes all links in a directory but those of the given names.
func (s *Store) KeepLinks(dir string, keep map[string]bool) error {
	names, err := s.names(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if keep[name] {
			continue
		}
		if err := s.unlink(path.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
