package buildpack

import (
	"fmt"
	"path"
	"slices"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/staging/buildpack/internal/cnb"
)

// The files by which cloud native buildpacks are known.
const (
	cnbFile      = "buildpack.toml"
	cnbOrderFile = "order.toml"
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
	key, dir string
}

// A CNBMember is a place in a group of cloud native buildpacks.
type CNBMember struct {
	ID       string // "samples/hello"
	Version  string // empty means the only one that there is
	Optional bool   // the group can do without it
}

// ErrNotDetected: no group of the cloud native buildpacks that somebody forces takes the app.
var ErrNotDetected = cnb.ErrNotDetected

// A CNBFileError tells what is wrong with a file of a cloud native buildpack: one that it brings, or one that it wrote.
type CNBFileError = cnb.FileError

// NewCNB returns the cloud native buildpack in a directory of the host. The directory has a buildpack.toml, or an order.toml
// with the buildpacks that it names in directories below. Those of a composite buildpack are below its directory, or, unless
// there is a key, in directories beside it. key is empty unless it is an admin buildpack. The directories must be readable for
// the user of the container, and stay until the container is gone. It fails with a [*CNBFileError] where a file is wrong.
func NewCNB(key, dir string) (*CNB, error) {
	c, err := readCNB(key, dir)
	if err == nil {
		err = c.complete()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// NewCNBOrder returns the buildpacks in directories of the host as an order of groups; nil means one group of all, in the order
// of dirs. A directory is as for [NewCNB]; a composite buildpack may have its members in the others, too.
func NewCNBOrder(dirs []string, order [][]CNBMember) (*CNB, error) {
	var members []*CNB
	for _, dir := range dirs {
		member, err := readCNB("", dir)
		if err != nil {
			return nil, err
		}
		members = append(members, member)
	}
	c, err := joinCNB(members)
	if err != nil {
		return nil, err
	}
	if order != nil {
		c.order = nil
	}
	for _, group := range order {
		var g cnb.Group
		for _, m := range group {
			g = append(g, cnb.Member{ID: m.ID, Version: m.Version, Optional: m.Optional})
		}
		c.order = append(c.order, g)
	}
	if err := c.complete(dirs...); err != nil {
		return nil, err
	}
	return c, nil
}

// joinCNB makes one group of several, in their order, which is still to be completed. Key and path are those of the last one, as
// with a [Multi].
func joinCNB(members []*CNB) (*CNB, error) {
	if len(members) == 0 {
		return nil, ErrNoMembers
	}
	c := &CNB{}
	var all cnb.Group
	for _, member := range members {
		if len(member.order) != 1 || len(member.order[0]) != 1 {
			return nil, fmt.Errorf("buildpack %s: it has an %s of its own and can only be used alone", member.path, cnbOrderFile)
		}
		all = append(all, member.order[0][0])
		c.key, c.path = member.key, member.path
		for _, p := range member.packs { // two composite buildpacks may have a member in common
			if !slices.ContainsFunc(c.packs, func(other cnbPack) bool { return other.dir == p.dir }) {
				c.packs = append(c.packs, p)
			}
		}
	}
	c.order = cnb.Order{all}
	return c, nil
}

// composeCNB is joinCNB with all that is needed.
func composeCNB(members []*CNB) (*CNB, error) {
	c, err := joinCNB(members)
	if err == nil {
		err = c.complete()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// onlyCNB returns the buildpacks if they are all cloud native; nil if one is not, or if there is none.
func onlyCNB(named []Buildpack) []*CNB {
	var all []*CNB
	for _, bp := range named {
		if fetched, ok := bp.(*Fetched); ok {
			bp = fetched.found
		}
		c, ok := bp.(*CNB)
		if !ok {
			return nil
		}
		all = append(all, c)
	}
	return all
}

// Key implements [Buildpack].
func (c *CNB) Key() string { return c.key }

// Path implements [Buildpack]. Of several directories it is the last.
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
