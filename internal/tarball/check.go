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
	c := &checker{opts: opts, budget: budget{limits: limits}, seed: maphash.MakeSeed(), seen: map[uint64]byte{}}
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
	seen   map[uint64]byte // type of the latest member of each name, by its hash
}

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
	switch hdr.Typeflag {
	case tar.TypeDir:
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		if hdr.FileInfo().Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			return refuse(hdr.Name, ErrSetID, "mode %04o", hdr.Mode)
		}
		hdr.Typeflag = tar.TypeReg
	case tar.TypeSymlink:
		if err := checkTarget(name, hdr.Linkname, c.opts.AbsoluteLinks); err != nil {
			return err
		}
	case tar.TypeLink:
		if err := c.hardLink(name, hdr); err != nil {
			return err
		}
	default:
		return refuse(hdr.Name, ErrType, "type %q", hdr.Typeflag)
	}
	hdr.Name = name
	c.seen[maphash.String(c.seed, name)] = hdr.Typeflag
	return nil
}

// way refuses a name that leads through a member that is no directory.
func (c *checker) way(name string) error {
	for i, r := range name {
		if r != '/' {
			continue
		}
		switch c.seen[maphash.String(c.seed, name[:i])] {
		case 0, tar.TypeDir:
		case tar.TypeSymlink:
			return refuse(name, ErrLink, "%q is a symbolic link", shorten(name[:i]))
		default:
			return refuse(name, ErrPath, "%q is no directory", shorten(name[:i]))
		}
	}
	return nil
}

// hardLink refuses a link to what is no earlier member. The target of one to a symbolic link is judged when it is unpacked.
func (c *checker) hardLink(name string, hdr *tar.Header) error {
	target, err := localName(hdr.Linkname)
	if err != nil || target == "." || target == name {
		return refuse(hdr.Name, ErrLink, "target %q", shorten(hdr.Linkname))
	}
	if err := c.way(target); err != nil {
		return err
	}
	switch c.seen[maphash.String(c.seed, target)] {
	case 0:
		return fmt.Errorf("member %q: hard link to %q: %w", shorten(hdr.Name), shorten(target), fs.ErrNotExist)
	case tar.TypeDir:
		return refuse(hdr.Name, ErrLink, "target %q is no file", shorten(hdr.Linkname))
	}
	hdr.Linkname = target
	return nil
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
