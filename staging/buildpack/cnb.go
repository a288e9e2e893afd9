package buildpack

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/staging/buildpack/internal/cnb"
)

// The files by which cloud native buildpacks are known.
const (
	cnbFile      = "buildpack.toml"
	cnbOrderFile = "order.toml"
)

const (
	maxCNBDepth = 3      // of directories below the one that was given
	maxCNBNames = 10_000 // in all of them
)

// CNB is a cloud native buildpack, or an order of groups of them, of which the first that takes the app is used
// (github.com/buildpacks/spec, Buildpack API 0.7 to 0.12). A CNB is for one staging at a time.
//
// It needs no images. The app is in the directory app of the app user's home and layers in its directory layers, so that the
// absolute paths that buildpacks write down are right again when the droplet is unpacked there. Of the layers only those for
// launch come into the droplet; those to be cached are kept in Build.CacheDir, and launch layers too, so that a buildpack can
// have one used again without building it. All else that a former staging left in the cache is dropped.
//
// The programs run as the app user, or as whoever the back end runs processes as where that has no users: the lifecycle
// refuses to work as root, we do not, since root is no more there than the one who may do all that the node may.
type CNB struct {
	key, path string
	dirs      []string // shown to the container
	packs     []cnbPack
	order     cnb.Order

	build *cnbBuild // that of the latest Detect or Compile
}

// A cnbPack is a buildpack in a directory of the host.
type cnbPack struct {
	*cnb.Descriptor
	dir string
}

// A CNBMember is a place in a group of cloud native buildpacks.
type CNBMember struct {
	ID       string // "samples/hello"
	Version  string // empty means the only one that there is
	Optional bool   // the group can do without it
}

// A CNBFileError tells what is wrong with a file of a cloud native buildpack: one that it brings, or one that it wrote.
type CNBFileError = cnb.FileError

// NewCNB returns the cloud native buildpack in a directory of the host. The directory has a buildpack.toml, or an order.toml
// with the buildpacks that it names in directories below. Those of a composite buildpack are below its directory, or, unless
// there is a key, in directories beside it. key is empty unless it is an admin buildpack. The directories must be readable for the user of the
// container, and stay until the container is gone. It fails with a [*CNBFileError] where a file is wrong.
func NewCNB(key, dir string) (*CNB, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("buildpack: %w", err)
	}
	c := &CNB{key: key, path: dir}
	if err := c.scan(dir, maxCNBDepth); err != nil {
		return nil, fmt.Errorf("buildpack %s: %w", dir, err)
	}
	data, err := readCNBFile(dir, cnbOrderFile)
	switch {
	case err == nil:
		if c.order, err = cnb.ParseOrder(filepath.Join(dir, cnbOrderFile), data); err != nil {
			return nil, fmt.Errorf("buildpack: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("buildpack: %w", err)
	case len(c.packs) == 0 || c.packs[0].dir != dir:
		return nil, fmt.Errorf("buildpack %s: it has neither %s nor %s", dir, cnbFile, cnbOrderFile)
	default:
		top := c.packs[0]
		c.order = cnb.Order{{{ID: top.ID, Version: top.Version}}}
	}
	err = c.settle()
	if err != nil && key == "" {
		beside := c.scanBeside(dir)
		if err = c.settle(); err != nil {
			err = errors.Join(append([]error{err}, beside...)...)
		}
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// NewCNBOrder returns the buildpacks in directories of the host as an order of groups; nil means one group of all, in the order
// of dirs. A directory is as for [NewCNB].
func NewCNBOrder(dirs []string, order [][]CNBMember) (*CNB, error) {
	c := &CNB{}
	var all cnb.Group
	for _, dir := range dirs {
		one, err := NewCNB("", dir)
		if err != nil {
			return nil, err
		}
		if len(one.order) != 1 || len(one.order[0]) != 1 {
			return nil, fmt.Errorf("buildpack %s: it has an %s of its own and can only be used alone", dir, cnbOrderFile)
		}
		all = append(all, one.order[0][0])
		c.path = cmp.Or(c.path, one.path)
		for _, p := range one.packs { // two composite buildpacks may have a member in common
			if !slices.ContainsFunc(c.packs, func(other cnbPack) bool { return other.dir == p.dir }) {
				c.packs = append(c.packs, p)
			}
		}
	}
	for _, group := range order {
		var g cnb.Group
		for _, m := range group {
			g = append(g, cnb.Member{ID: m.ID, Version: m.Version, Optional: m.Optional})
		}
		c.order = append(c.order, g)
	}
	if order == nil {
		c.order = cnb.Order{all}
	}
	if err := c.settle(); err != nil {
		return nil, err
	}
	return c, nil
}

// isCNB tells whether a directory has the files of cloud native buildpacks.
func isCNB(dir string) bool {
	for _, name := range []string{cnbFile, cnbOrderFile} {
		if info, err := os.Lstat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

// scan finds the buildpacks in dir and below. Links are not followed.
func (c *CNB) scan(dir string, depth int) error {
	names := 0
	return filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if names++; names > maxCNBNames {
			return fmt.Errorf("%w: more than %d files to look at for a %s", cnb.ErrTooLarge, maxCNBNames, cnbFile)
		}
		if !entry.IsDir() {
			return nil
		}
		found, err := c.add(name)
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(name, dir), "/")
		component := found && !c.packs[len(c.packs)-1].Composite()
		if component || rel != "" && strings.Count(rel, "/")+1 >= depth {
			return fs.SkipDir // nothing in a buildpack is another, unless it consists of them
		}
		return nil
	})
}

// scanBeside finds the buildpacks in the directories beside dir, but for those that are below it too. It returns what is wrong with
// the ones that cannot be read.
func (c *CNB) scanBeside(dir string) (wrong []error) {
	own := slices.Clone(c.packs)
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil {
		return []error{err}
	}
	for _, entry := range entries[:min(len(entries), maxCNBNames)] {
		if name := filepath.Join(filepath.Dir(dir), entry.Name()); entry.IsDir() && name != dir {
			if _, err := c.add(name); err != nil {
				wrong = append(wrong, err)
			}
		}
	}
	c.packs = append(own, slices.DeleteFunc(c.packs[len(own):], func(p cnbPack) bool {
		return slices.ContainsFunc(own, func(other cnbPack) bool { return other.String() == p.String() })
	})...)
	return wrong
}

// add takes in the buildpack in a directory, if there is one.
func (c *CNB) add(dir string) (found bool, err error) {
	data, err := readCNBFile(dir, cnbFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = os.Lstat(filepath.Join(dir, "bin", "build"))
	d, err := cnb.ParseDescriptor(filepath.Join(dir, cnbFile), data, err == nil)
	if err != nil {
		return false, err
	}
	c.packs = append(c.packs, cnbPack{d, dir})
	return true, nil
}

// readCNBFile reads a file that a buildpack brings. It is foreign: one that is no regular file is refused.
func readCNBFile(dir, name string) ([]byte, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", f.Name())
	}
	return io.ReadAll(io.LimitReader(f, cnb.MaxFileBytes+1)) // what is over is refused when it is parsed
}

// settle keeps the buildpacks that the order needs. It changes nothing when one is missing.
func (c *CNB) settle() error {
	used := map[string]cnbPack{}
	var follow func(cnb.Order) error
	follow = func(order cnb.Order) error {
		for _, group := range order {
			for _, m := range group {
				p, err := c.lookup(m)
				if err != nil {
					return err
				}
				if _, ok := used[p.dir]; ok {
					continue
				}
				used[p.dir] = p
				if err := follow(p.Order); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := follow(c.order); err != nil {
		return err
	}
	c.packs = slices.DeleteFunc(c.packs, func(p cnbPack) bool { _, ok := used[p.dir]; return !ok })
	for _, p := range c.packs {
		inside := func(dir string) bool { return p.dir == dir || strings.HasPrefix(p.dir, dir+"/") }
		if !slices.ContainsFunc(c.dirs, inside) {
			c.dirs = slices.DeleteFunc(c.dirs, func(dir string) bool { return strings.HasPrefix(dir, p.dir+"/") })
			c.dirs = append(c.dirs, p.dir)
		}
	}
	return nil
}

// lookup finds the buildpack for a place in a group.
func (c *CNB) lookup(m cnb.Member) (cnbPack, error) {
	var found []cnbPack
	var versions []string
	for _, p := range c.packs {
		if p.ID == m.ID {
			versions = append(versions, p.Version)
			if m.Version == "" || m.Version == p.Version {
				found = append(found, p)
			}
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return cnbPack{}, fmt.Errorf("buildpack %s: there are several with the id %s (%s); name the version, or remove the others",
			c.path, m.ID, strings.Join(versions, ", "))
	case len(versions) > 0:
		return cnbPack{}, fmt.Errorf("buildpack %s: there is no version %s of %s, but %s", c.path, m.Version, m.ID, strings.Join(versions, ", "))
	}
	return cnbPack{}, fmt.Errorf("buildpack %s: there is no %s; put its directory below this one", c.path, strings.TrimSuffix(m.ID+"@"+m.Version, "@"))
}

// Key implements [Buildpack].
func (c *CNB) Key() string { return c.key }

// Path implements [Buildpack]. Of several directories it is the first.
func (c *CNB) Path() string { return c.path }

// Mounts implements [Buildpack].
func (c *CNB) Mounts() []container.BindMount {
	var mounts []container.BindMount
	for _, dir := range c.dirs {
		mounts = append(mounts, container.BindMount{Src: dir})
	}
	return mounts
}

// Root implements [Buildpack].
func (c *CNB) Root() string { return container.AppHome }

// cnbLayers is the directory of all layers.
var cnbLayers = path.Join(container.AppHome, "layers")
