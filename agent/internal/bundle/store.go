package bundle

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/rmtree"
	"github.com/deakit/deakit/internal/tarball"
)

// asidePrefix begins the names of what is being unpacked or removed. No bundle has such a name.
const asidePrefix = ".aside-"

// Options are the options of [Open]. The zero value is useful.
type Options struct {
	Owner  *tarball.Owner // of all that is made; nil leaves it to the user of this process
	Limits tarball.Limits // of each archive
}

// A Store is a base directory with its bundles. Its methods may be called from several goroutines at once, for different
// bundles.
type Store struct {
	root *os.Root
	opts Options
}

// Open opens a base directory, which must exist.
func Open(base string, opts Options) (*Store, error) {
	root, err := os.OpenRoot(base)
	if err != nil {
		return nil, fmt.Errorf("open base directory: %w", err)
	}
	return &Store{root, opts}, nil
}

// Close closes the base directory.
func (s *Store) Close() error { return s.root.Close() }

// Root is the base directory. It is closed with the store.
func (s *Store) Root() *os.Root { return s.root }

// Installed tells whether a bundle is there, wholly.
func (s *Store) Installed(b Bundle) (bool, error) {
	info, err := s.root.Lstat(b.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory: remove it", path.Join(s.root.Name(), b.Path()))
	}
	return err == nil, err
}

// MkdirAll makes a directory and its parents; those that it makes get the mode, whatever the umask, and the owner.
func (s *Store) MkdirAll(dir string, mode fs.FileMode) error {
	made := ""
	for part := range strings.SplitSeq(dir, "/") {
		made = path.Join(made, part)
		err := s.root.Mkdir(made, mode)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = s.settle(made, mode)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settle gives a new directory its mode and owner.
func (s *Store) settle(dir string, mode fs.FileMode) error {
	if s.opts.Owner != nil {
		if err := s.root.Lchown(dir, s.opts.Owner.UID, s.opts.Owner.GID); err != nil {
			return err
		}
	}
	return s.root.Chmod(dir, mode)
}

// Aside makes an empty directory to unpack into, for bundles of a kind. Discard or Sweep removes it.
func (s *Store) Aside(kind Kind) (string, error) {
	if err := s.MkdirAll(kind.dir(), 0o755); err != nil {
		return "", err
	}
	aside := path.Join(kind.dir(), asidePrefix+rand.Text())
	return aside, s.root.Mkdir(aside, 0o700)
}

// Discard removes what stands aside. It is no error that there is nothing.
func (s *Store) Discard(aside string) error { return rmtree.In(s.root, aside) }

// Flush writes all that stands aside to disk, so that a directory that has its name has its content too, also when the
// machine loses power.
func (s *Store) Flush(kind Kind) error {
	d, err := s.root.Open(kind.dir())
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("write %s to disk: %w", kind.dir(), err)
	}
	return nil
}

// Place gives a directory that stands aside its name. If the bundle is there already, that stays and the other is left
// aside.
func (s *Store) Place(aside string, b Bundle) error {
	there, err := s.Installed(b)
	if there || err != nil {
		return err
	}
	mode := fs.FileMode(0o755) // (bosh-agent)
	if b.Kind == Jobs {
		mode = 0o750
	}
	if err := s.MkdirAll(path.Dir(b.Path()), mode); err != nil {
		return err
	}
	if err := s.settle(aside, mode); err != nil {
		return err
	}
	return s.root.Rename(aside, b.Path())
}

// Uninstall removes a bundle, not its link. It is no error that there is none.
func (s *Store) Uninstall(b Bundle) error {
	aside := path.Join(b.Kind.dir(), asidePrefix+rand.Text())
	err := s.root.Rename(b.Path(), aside)
	if err == nil {
		err = s.Discard(aside)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("uninstall %s: %w", b.Link(), err)
	}
	return nil
}

// removeEmpty removes the directories of names that have no version any more.
func (s *Store) removeEmpty(kind Kind) error {
	names, err := s.names(kind.dir())
	if err != nil {
		return err
	}
	for _, name := range names {
		dir := path.Join(kind.dir(), name)
		if info, err := s.root.Lstat(dir); err == nil && info.IsDir() {
			_ = s.root.Remove(dir) // fails while there is a version
		}
	}
	return nil
}

// List returns the bundles of a kind that are there.
func (s *Store) List(kind Kind) (all []Bundle, err error) {
	names, err := s.names(kind.dir())
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.HasPrefix(name, asidePrefix) {
			continue
		}
		dirs, err := s.names(path.Join(kind.dir(), name))
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			all = append(all, Bundle{kind, name, dir})
		}
	}
	return all, nil
}

// names returns what is in a directory, sorted; nothing if it is no directory.
func (s *Store) names(dir string) ([]string, error) {
	d, err := s.root.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Sweep removes what a process that was killed left aside. Nobody else may be at work.
func (s *Store) Sweep() error {
	var first error
	for _, dir := range []string{Jobs.dir(), Packages.dir(), string(Jobs), string(Packages)} {
		names, err := s.names(dir)
		first = cmp.Or(first, err)
		for _, name := range names {
			if strings.HasPrefix(name, asidePrefix) {
				first = cmp.Or(first, s.Discard(path.Join(dir, name)))
			}
		}
	}
	if first != nil {
		return fmt.Errorf("remove what was left half-installed: %w", first)
	}
	return nil
}
