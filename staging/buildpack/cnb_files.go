package buildpack

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/deakit/deakit/staging/buildpack/internal/cnb"
)

const (
	maxCNBDepth = 3      // of directories below the one that was given
	maxCNBNames = 10_000 // in all of them
)

// readCNB reads what is in a directory, whether or not it is all that is needed.
func readCNB(key, dir string) (*CNB, error) {
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
		c.order, err = cnb.ParseOrder(filepath.Join(dir, cnbOrderFile), data)
	case !errors.Is(err, fs.ErrNotExist):
	case len(c.packs) == 0 || c.packs[0].dir != dir:
		err = fmt.Errorf("it has neither %s nor %s", cnbFile, cnbOrderFile)
	default:
		c.order, err = cnb.Order{{{ID: c.packs[0].ID, Version: c.packs[0].Version}}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("buildpack %s: %w", dir, err)
	}
	return c, nil
}

// complete finds what the order needs, and forgets the rest. Unless there is a key, it looks beside the given directories, too,
// for what is missing; none means that of c.
func (c *CNB) complete(dirs ...string) error {
	err := c.settle()
	if err == nil || c.key != "" {
		return err
	}
	if len(dirs) == 0 {
		dirs = []string{c.path}
	}
	var wrong []error
	for _, dir := range dirs {
		wrong = append(wrong, c.scanBeside(dir)...)
	}
	if err = c.settle(); err != nil { // what is wrong elsewhere may be the reason; else it is no business of ours
		err = errors.Join(append([]error{err}, wrong...)...)
	}
	return err
}

// isCNB tells whether a directory has the files of cloud native buildpacks. One with the programs of an older kind and without
// bin/build is none: the registry of Heroku wants those to bring a buildpack.toml, too.
func isCNB(dir string) bool {
	c := &Classic{dir: dir}
	if !c.has("build") && (c.has("compile") || c.has("finalize") || c.has("supply")) {
		return false
	}
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
	dir, err := filepath.Abs(dir)
	if err != nil {
		return []error{err}
	}
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
	c.packs = append(c.packs, cnbPack{d, c.key, dir})
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
	used := map[string]bool{} // by directory
	var follow func(cnb.Order) error
	follow = func(order cnb.Order) error {
		for _, group := range order {
			for _, m := range group {
				p, err := c.lookup(m)
				if err != nil {
					return err
				}
				if used[p.dir] {
					continue
				}
				used[p.dir] = true
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
	c.packs = slices.DeleteFunc(c.packs, func(p cnbPack) bool { return !used[p.dir] })
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
