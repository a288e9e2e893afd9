package tarball

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

const (
	chunkBytes = 128 << 10
	// pendingBytes bounds the names that are remembered for directories that must become unwritable at the end.
	pendingBytes = 16 << 20

	ownerAccess = 0o700
	anyExecute  = 0o111
)

// ExtractOptions are the options of [Extract]. The zero value refuses whatever could leave the target directory.
type ExtractOptions struct {
	Limits Limits

	// AbsoluteLinks allows symbolic links with absolute targets, as droplets made inside a container hold them.
	// Nothing here follows them, nor does os.Root; a plain os.Open below the directory would.
	AbsoluteLinks bool

	// Owner gets all that is made, the target directory and its parents included where they are made. Nil leaves it
	// to the user that this process runs as.
	Owner *Owner
}

// Owner is a user and a group by number.
type Owner struct{ UID, GID int }

// Extract unpacks the plain tar stream r below the directory dir of root. dir is made if need be (mode 0755); a leading
// slash means root, symbolic links in dir itself are followed within root. An existing dir keeps its mode and owner.
//
// Members may be named "x" or "./x". Files and links that exist are replaced, never written through; existing
// directories stay and get the mode of the member. Modes are those of the archive without setgid and sticky of
// directories, whatever the umask; modification times of files are kept; owners in the archive are ignored. A hard link
// must name an earlier member or an existing file below dir.
//
// A member that has no place there (see the Err variables) ends the work with a [*MemberError]; what came before it
// stays. The stream is read to its end, also past the end of the archive, unless an error comes first. ctx is looked at
// between chunks: whoever hands in a reader that may block must close it to interrupt Extract.
//
// A program can be run as soon as Extract returns: children that this process starts meanwhile hold it open no longer.
//
// Memory does not depend on the size of the archive.
func Extract(ctx context.Context, root *os.Root, dir string, r io.Reader, opts ExtractOptions) error {
	base, err := openTarget(root, dir, opts.Owner)
	if err != nil {
		return fmt.Errorf("extract archive: %w", err)
	}
	defer base.Close()

	limits := opts.Limits.WithDefaults()
	x := &extractor{
		base:    base,
		budget:  budget{limits: limits},
		opts:    opts,
		in:      Bound(ctx, r, limits),
		buf:     make([]byte, chunkBytes),
		pending: map[string]fs.FileMode{},
	}
	defer x.closeParent()
	if err := x.run(); err != nil {
		return fmt.Errorf("extract archive: %w", err)
	}
	return nil
}

// openTarget opens dir below root and makes what is missing of it.
func openTarget(root *os.Root, dir string, owner *Owner) (*os.Root, error) {
	dir = below(dir)
	made := ""
	for part := range strings.SplitSeq(dir, "/") {
		made = path.Join(made, part)
		err := root.Mkdir(made, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if owner != nil {
			if err := root.Lchown(made, owner.UID, owner.GID); err != nil {
				return nil, err
			}
		}
	}
	return root.OpenRoot(dir)
}

// below turns a path of a container or a relative path into a name that os.Root takes.
func below(p string) string {
	if p = strings.TrimPrefix(path.Clean("/"+p), "/"); p != "" {
		return p
	}
	return "."
}

// An extractor unpacks one archive. Each member is made relative to its opened parent directory, to which every step
// was checked to be a real directory: no link of an earlier member is ever followed. A process that swaps such a step
// for a link after the check gets no further than os.Root lets it, below base.
type extractor struct {
	base   *os.Root
	opts   ExtractOptions
	budget budget
	in     io.Reader
	buf    []byte

	parent     *os.Root // the directory of the latest member, nil if none is open
	parentName string

	pending     map[string]fs.FileMode // directories to be made unwritable at the end
	pendingSize int

	disturbed bool // somebody writes to what is extracted: no more waiting for programs to settle
}

func (x *extractor) run() error {
	tr := tar.NewReader(x.in)
	for {
		hdr, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // which is for us to judge
			return err
		}
		if err := x.member(hdr, tr); err != nil {
			return err
		}
	}
	if err := x.applyPending(); err != nil {
		return err
	}
	// Padding follows the end mark; who writes it into a pipe must not be left alone with it.
	_, err := io.CopyBuffer(io.Discard, onlyReader{x.in}, x.buf)
	return err
}

// onlyReader hides other methods, so that io.CopyBuffer uses the buffer.
type onlyReader struct{ io.Reader }

func (x *extractor) member(hdr *tar.Header, content io.Reader) error {
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return x.budget.member(hdr.Name, "", 0)
	}
	if err := x.budget.member(hdr.Name, hdr.Linkname, hdr.Size); err != nil {
		return err
	}
	name, err := localName(hdr.Name)
	if err != nil {
		return err
	}
	if name == "." && hdr.Typeflag != tar.TypeDir {
		return refuse(hdr.Name, ErrPath, "only a directory can have this name")
	}
	switch hdr.Typeflag {
	case tar.TypeDir:
		err = x.directory(name, hdr)
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		err = x.file(name, hdr, content)
	case tar.TypeSymlink:
		err = x.symlink(name, hdr)
	case tar.TypeLink:
		err = x.hardLink(name, hdr)
	default:
		return refuse(hdr.Name, ErrType, "type %q", hdr.Typeflag)
	}
	switch {
	case err == nil || isMemberError(err):
		return err
	case errors.Is(err, syscall.ENOTEMPTY):
		return refuse(hdr.Name, ErrPath, "it is a directory with members")
	case errors.Is(err, syscall.ENAMETOOLONG):
		return refuse(hdr.Name, ErrPath, "longer than a file system takes")
	}
	return fmt.Errorf("member %q: %w", shorten(hdr.Name), err)
}

func isMemberError(err error) bool {
	var refused *MemberError
	return errors.As(err, &refused)
}

// localName checks a member name and returns it in clean form; "." is the target directory itself.
func localName(name string) (string, error) {
	switch {
	case name == "":
		return "", refuse(name, ErrPath, "empty name")
	case path.IsAbs(name):
		return "", refuse(name, ErrPath, "absolute")
	case slices.Contains(strings.Split(name, "/"), ".."):
		return "", refuse(name, ErrPath, `".." in the name`)
	}
	return path.Clean(name), nil
}

func (x *extractor) directory(name string, hdr *tar.Header) error {
	if name == "." {
		return nil // its mode is the business of whoever made it: an archive of /tmp must not close /tmp
	}
	parent, err := x.open(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	if info, err := parent.Lstat(base); err != nil || !info.IsDir() {
		if err := replace(parent, base, func() error { return parent.Mkdir(base, ownerAccess) }); err != nil {
			return err
		}
	}
	mode := hdr.FileInfo().Mode().Perm()
	delete(x.pending, name)
	if mode&ownerAccess != ownerAccess {
		if x.pendingSize += len(name); x.pendingSize > pendingBytes {
			return refuse(hdr.Name, ErrLimit, "too many directories without access for their owner")
		}
		x.pending[name] = mode
		mode |= ownerAccess
	}
	return x.setDirectory(parent, base, mode)
}

func (x *extractor) setDirectory(parent *os.Root, base string, mode fs.FileMode) error {
	d, err := parent.OpenFile(base, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	return x.finish(d, mode)
}

// finish gives an opened file its owner and mode, in this order because chown may clear bits of the mode.
func (x *extractor) finish(f *os.File, mode fs.FileMode) error {
	if o := x.opts.Owner; o != nil {
		if err := f.Chown(o.UID, o.GID); err != nil {
			return err
		}
	}
	return f.Chmod(mode)
}

func (x *extractor) file(name string, hdr *tar.Header, content io.Reader) error {
	if hdr.FileInfo().Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		return refuse(hdr.Name, ErrSetID, "mode %04o", hdr.Mode)
	}
	parent, err := x.open(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	delete(x.pending, name)
	var f *os.File
	err = replace(parent, base, func() (err error) {
		f, err = parent.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	mode := hdr.FileInfo().Mode().Perm()
	var program *os.File // opened while its mode lets us
	if mode&anyExecute != 0 && !x.disturbed {
		if program, err = parent.OpenFile(base, os.O_RDONLY|syscall.O_NOFOLLOW, 0); err != nil {
			return errors.Join(err, f.Close())
		}
		defer program.Close()
	}
	if err := x.fill(f, content, mode); err != nil {
		return err
	}
	if program != nil {
		x.disturbed = !settle(program)
	}
	if hdr.ModTime.IsZero() {
		return nil
	}
	return parent.Chtimes(base, hdr.ModTime, hdr.ModTime)
}

// fill writes a new file and closes it.
func (x *extractor) fill(f *os.File, content io.Reader, mode fs.FileMode) error {
	_, err := io.CopyBuffer(onlyWriter{f}, onlyReader{content}, x.buf)
	if err == nil {
		err = x.finish(f, mode)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

type onlyWriter struct{ io.Writer }

func (x *extractor) symlink(name string, hdr *tar.Header) error {
	if err := checkTarget(name, hdr.Linkname, x.opts.AbsoluteLinks); err != nil {
		return err
	}
	parent, err := x.open(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	delete(x.pending, name)
	if err := replace(parent, base, func() error { return parent.Symlink(hdr.Linkname, base) }); err != nil {
		return err
	}
	if o := x.opts.Owner; o != nil {
		return parent.Lchown(base, o.UID, o.GID)
	}
	return nil
}

// checkTarget refuses a symbolic link that leaves the target directory. A ".." behind another component is judged by
// what that component really is, which a later member can change; so such a target is refused too, unless absolute
// targets are allowed and links can lead anywhere as it is.
func checkTarget(name, target string, absolute bool) error {
	if target == "" {
		return refuse(name, ErrLink, "empty target")
	}
	if path.IsAbs(target) {
		if !absolute {
			return refuse(name, ErrLink, "absolute target %q", shorten(target))
		}
		return nil
	}
	if resolved := path.Join(path.Dir(name), target); resolved == ".." || strings.HasPrefix(resolved, "../") {
		return refuse(name, ErrLink, "target %q", shorten(target))
	}
	descended := false
	for part := range strings.SplitSeq(target, "/") {
		if part == ".." && descended && !absolute {
			return refuse(name, ErrLink, "target %q goes down and up again", shorten(target))
		}
		descended = descended || part != ".." && part != "." && part != ""
	}
	return nil
}

func (x *extractor) hardLink(name string, hdr *tar.Header) error {
	target, err := localName(hdr.Linkname)
	if err != nil || target == "." {
		return refuse(hdr.Name, ErrLink, "target %q", shorten(hdr.Linkname))
	}
	if target == name {
		return refuse(hdr.Name, ErrLink, "links to itself")
	}
	// Both ways are walked before the link is made, so that no link of the archive is on them.
	from, err := x.open(path.Dir(target))
	if err != nil {
		return err
	}
	info, err := from.Lstat(path.Base(target))
	if err != nil {
		return err
	}
	switch info.Mode().Type() {
	case 0:
	case fs.ModeSymlink: // means something else where it stands under another name
		to, err := from.Readlink(path.Base(target))
		if err != nil {
			return err
		}
		if err := checkTarget(name, to, x.opts.AbsoluteLinks); err != nil {
			return err
		}
	default:
		return refuse(hdr.Name, ErrLink, "target %q is no file", shorten(hdr.Linkname))
	}
	parent, err := x.open(path.Dir(name))
	if err != nil {
		return err
	}
	delete(x.pending, name)
	return replace(parent, path.Base(name), func() error { return x.base.Link(target, name) })
}
