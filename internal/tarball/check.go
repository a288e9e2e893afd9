package tarball

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"path"
	"strings"
)

// CheckOptions are the options of [Check] and [Rewrite]. The zero value refuses what Extract does.
type CheckOptions struct {
	Limits Limits

	// AbsoluteLinks allows symbolic links with absolute targets.
	AbsoluteLinks bool

	// Select sees each member first and may change its header; false leaves the member out, without a judgement. Nil
	// takes all as they are.
	Select func(*tar.Header) bool
}

// Check reads the plain tar stream r to its end and refuses with a [*MemberError] what Extract would refuse to unpack into
// an empty directory. It calls visit with each member, the name in clean form, and its content, of which visit reads as
// much as it likes; global headers are left out. An error of visit ends the work and is returned as it is.
//
// Memory grows with the number of members, some 40 bytes each, not with their size or names.
func Check(ctx context.Context, r io.Reader, opts CheckOptions, visit func(*tar.Header, io.Reader) error) error {
	limits := opts.Limits.WithDefaults()
	in := Bound(ctx, r, limits)
	c := &checker{opts: opts, budget: budget{limits: limits}, seed: maphash.MakeSeed(), seen: map[uint64]place{}}
	tr := tar.NewReader(in)
	for {
		hdr, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // which is for us to judge
			return err
		}
		if opts.Select != nil && !opts.Select(hdr) {
			continue
		}
		if hdr.Typeflag == tar.TypeXGlobalHeader {
			err = c.budget.member(hdr.Name, "", 0)
		} else if err = c.member(hdr); err == nil {
			err = visit(hdr, tr)
		}
		if err != nil {
			return err
		}
	}
	_, err := io.CopyBuffer(io.Discard, onlyReader{in}, make([]byte, chunkBytes))
	return err
}

// A checker judges members by themselves and by those that came before.
type checker struct {
	opts   CheckOptions
	budget budget
	seed   maphash.Seed
	seen   map[uint64]place // by the hash of the name
}

// A place is what would stand under a name.
type place struct {
	kind   byte  // tar.TypeReg, TypeSymlink or TypeDir; 0 for nothing
	filled bool  // of a directory: whether there is something in it
	ups    int32 // of a symbolic link: how many directories its target goes up
}

func (c *checker) at(name string) place        { return c.seen[maphash.String(c.seed, name)] }
func (c *checker) put(name string, what place) { c.seen[maphash.String(c.seed, name)] = what }

func (c *checker) member(hdr *tar.Header) error {
	if err := c.budget.member(hdr.Name, hdr.Linkname, hdr.Size); err != nil {
		return err
	}
	name, err := localName(hdr.Name)
	if err != nil {
		return err
	}
	if name == "." && hdr.Typeflag != tar.TypeDir {
		return refuse(hdr.Name, ErrPath, "only a directory can have this name")
	}
	if err := c.way(name); err != nil {
		return err
	}
	made, err := c.make(name, hdr)
	if err != nil {
		return err
	}
	switch before := c.at(name); {
	case made.kind != tar.TypeDir && before.filled:
		return refuse(hdr.Name, ErrPath, "it is a directory with members")
	case made.kind == tar.TypeDir && before.filled:
		made.filled = true
	}
	hdr.Name = name
	c.put(name, made)
	return nil
}

// make returns what a member is.
func (c *checker) make(name string, hdr *tar.Header) (place, error) {
	switch hdr.Typeflag {
	case tar.TypeDir:
		return place{kind: tar.TypeDir}, nil
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		if hdr.FileInfo().Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			return place{}, refuse(hdr.Name, ErrSetID, "mode %04o", hdr.Mode)
		}
		hdr.Typeflag = tar.TypeReg
		return place{kind: tar.TypeReg}, nil
	case tar.TypeSymlink:
		return place{kind: tar.TypeSymlink, ups: ups(hdr.Linkname)}, checkTarget(name, hdr.Linkname, c.opts.AbsoluteLinks)
	case tar.TypeLink:
		return c.hardLink(name, hdr)
	}
	return place{}, refuse(hdr.Name, ErrType, "type %q", hdr.Typeflag)
}

// ups returns how many directories a target goes up before it goes down.
func ups(target string) (n int32) {
	for part := range strings.SplitSeq(path.Clean(target), "/") {
		if part != ".." {
			return n
		}
		n++
	}
	return n
}

// way refuses a name that leads through a member that is no directory, and takes note of the directories on it.
func (c *checker) way(name string) error {
	for i, r := range name {
		if r != '/' {
			continue
		}
		switch c.at(name[:i]).kind {
		case 0, tar.TypeDir:
			c.put(name[:i], place{kind: tar.TypeDir, filled: true})
		case tar.TypeSymlink:
			return refuse(name, ErrLink, "%q is a symbolic link", shorten(name[:i]))
		default:
			return refuse(name, ErrPath, "%q is no directory", shorten(name[:i]))
		}
	}
	return nil
}

// hardLink returns what the link leads to, which must be an earlier member.
func (c *checker) hardLink(name string, hdr *tar.Header) (place, error) {
	target, err := localName(hdr.Linkname)
	if err != nil || target == "." {
		return place{}, refuse(hdr.Name, ErrLink, "target %q", shorten(hdr.Linkname))
	}
	if target == name {
		return place{}, refuse(hdr.Name, ErrLink, "links to itself")
	}
	if err := c.way(target); err != nil {
		return place{}, err
	}
	to := c.at(target)
	switch {
	case to.kind == 0:
		return place{}, fmt.Errorf("member %q: hard link to %q: %w", shorten(hdr.Name), shorten(target), fs.ErrNotExist)
	case to.kind == tar.TypeDir:
		return place{}, refuse(hdr.Name, ErrLink, "target %q is no file", shorten(hdr.Linkname))
	case int(to.ups) > strings.Count(name, "/"): // the link means something else where it stands under another name
		return place{}, refuse(hdr.Name, ErrLink, "target %q", shorten(hdr.Linkname))
	}
	hdr.Linkname = target
	return to, nil
}

// Canonical gives a member that was checked the form of those that Write makes: a name that begins with "./", that of a
// directory with a slash at its end, the permission bits, no owner and no extensions.
func Canonical(hdr *tar.Header) *tar.Header {
	c := &tar.Header{
		Typeflag: hdr.Typeflag,
		Name:     dotted(hdr.Name),
		Linkname: hdr.Linkname,
		Mode:     hdr.Mode & 0o777,
		ModTime:  hdr.ModTime,
	}
	switch hdr.Typeflag {
	case tar.TypeReg:
		c.Size = hdr.Size
	case tar.TypeDir:
		c.Name += "/"
	case tar.TypeSymlink:
		c.Mode = 0o777
	case tar.TypeLink:
		c.Linkname = dotted(hdr.Linkname)
	}
	return c
}

func dotted(name string) string {
	if name = strings.TrimPrefix(path.Clean(name), "./"); name == "." {
		return name
	}
	return "./" + name
}
