package tarball

import (
	"archive/tar"
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// maxDepth bounds nested directories, each of which holds a file descriptor while it is written.
const maxDepth = 256

// Options are the options of [Write]. The zero value is useful.
type Options struct {
	// Name is what the written path is called in the archive; members below it follow after a slash. Empty means
	// ".": members are named "./x".
	Name string

	// ModTime is given to all members, to the second. Zero keeps the times of the files.
	ModTime time.Time

	// Limits fail the work with ErrLimit when the tree exceeds them; MaxBytes counts the content of files.
	Limits Limits

	// Skipped is called with the name of each file that is left out for what it is: FIFOs, sockets and devices. It may be nil.
	Skipped func(name string)

	// Exclude tells what is left out besides, by its path below the written one ("a/b"). Of a directory that it excludes,
	// only the entry of its own is left out and what stands below is asked about, unless it says prune. Nil takes all.
	Exclude func(name string, dir bool) (exclude, prune bool)
}

// Write writes what stands at p below root, a directory with all below it, a file or a link, as a plain tar stream to
// w. A leading slash of p means root; symbolic links in p are followed within root, except the last component unless p
// ends in a slash.
//
// The same tree gives the same bytes: members are sorted by name within their directory, what is no directory first,
// owners are 0 without names, modes are reduced to the nine permission bits. Hard links among the members are kept. All but files, directories and
// links is left out. A file that shrinks meanwhile is an error, one that grows is written as long as it was. An error
// leaves a stream without end mark. ctx is looked at between chunks.
func Write(ctx context.Context, w io.Writer, root *os.Root, p string, opts Options) error {
	if err := write(ctx, w, root, p, opts); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

func write(ctx context.Context, w io.Writer, root *os.Root, p string, opts Options) error {
	if opts.Name == "" {
		opts.Name = "."
	}
	followLast := strings.HasSuffix(p, "/")
	p = below(p)
	parent, err := root.OpenRoot(path.Dir(p))
	if err != nil {
		return err
	}
	defer parent.Close()
	out := bufio.NewWriterSize(w, chunkBytes)
	t := &writer{
		ctx:    ctx,
		tar:    tar.NewWriter(out),
		opts:   opts,
		budget: budget{limits: opts.Limits.WithDefaults()},
		buf:    make([]byte, chunkBytes),
		linked: map[inode]string{},
	}
	if err := t.start(root, parent, p, followLast); err != nil {
		return err
	}
	if err := t.tar.Close(); err != nil {
		return err
	}
	return out.Flush()
}

type inode struct{ dev, ino uint64 }

// A writer writes one archive.
type writer struct {
	ctx    context.Context
	tar    *tar.Writer
	opts   Options
	budget budget
	buf    []byte
	linked map[inode]string // names of written files that have further names
}

func (t *writer) start(root, parent *os.Root, p string, followLast bool) error {
	if p == "." || followLast {
		dir, err := root.OpenRoot(p)
		if err != nil {
			return err
		}
		defer dir.Close()
		return t.directory(dir, t.opts.Name, 0, false)
	}
	info, err := parent.Lstat(path.Base(p))
	if err != nil {
		return err
	}
	return t.entry(parent, path.Base(p), info.Mode().Type(), t.opts.Name, 0, false)
}

// entry writes what the directory parent holds under base, of the given type a moment ago, as member name; of a directory
// without an entry of its own only what is below.
func (t *writer) entry(parent *os.Root, base string, kind fs.FileMode, name string, depth int, bare bool) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	switch kind {
	case fs.ModeDir:
		dir, err := parent.OpenRoot(base)
		if err != nil {
			return err
		}
		defer dir.Close()
		return t.directory(dir, name, depth, bare)
	case 0:
		return t.file(parent, base, name)
	case fs.ModeSymlink:
		return t.symlink(parent, base, name)
	}
	t.skip(name)
	return nil
}

func (t *writer) symlink(parent *os.Root, base, name string) error {
	info, err := parent.Lstat(base)
	if err != nil {
		return err
	}
	target, err := parent.Readlink(base)
	if err != nil {
		return err
	}
	return t.header(info, name, target)
}

func (t *writer) skip(name string) {
	if t.opts.Skipped != nil {
		t.opts.Skipped(name)
	}
}

func (t *writer) directory(dir *os.Root, name string, depth int, bare bool) error {
	if depth > maxDepth {
		return refuse(name, ErrLimit, "more than %d nested directories", maxDepth)
	}
	entries, err := t.list(dir, name, bare)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		below := name + "/" + entry.Name() // not path.Join, which would drop the "./" in front
		exclude, prune := t.excludes(below, entry.IsDir())
		if exclude && (prune || !entry.IsDir()) {
			continue
		}
		if err := t.entry(dir, entry.Name(), entry.Type(), below, depth+1, exclude); err != nil {
			return err
		}
	}
	return nil
}

func (t *writer) excludes(name string, dir bool) (exclude, prune bool) {
	if t.opts.Exclude == nil {
		return false, false
	}
	return t.opts.Exclude(strings.TrimPrefix(name, t.opts.Name+"/"), dir)
}

// list writes the header of a directory, unless it is to have none, and returns what is in it, directories last.
func (t *writer) list(dir *os.Root, name string, bare bool) ([]fs.DirEntry, error) {
	d, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		return nil, err
	}
	if !bare {
		if err := t.header(info, name+"/", ""); err != nil {
			return nil, err
		}
	}
	var all []fs.DirEntry
	for {
		some, err := d.ReadDir(1024)
		all = append(all, some...)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(all) > t.budget.limits.MaxMembers {
			return nil, refuse(name, ErrLimit, "more than %d members", t.budget.limits.MaxMembers)
		}
	}
	slices.SortFunc(all, func(a, b fs.DirEntry) int {
		if a.IsDir() != b.IsDir() {
			if a.IsDir() {
				return 1
			}
			return -1
		}
		return strings.Compare(a.Name(), b.Name())
	})
	return all, nil
}

func (t *writer) file(parent *os.Root, base, name string) error {
	// It was a file a moment ago; O_NONBLOCK keeps a FIFO that took its place from stopping us.
	f, err := parent.OpenFile(base, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		t.skip(name)
		return nil
	}
	if earlier := t.earlierName(info, name); earlier != "" {
		return t.header(info, name, earlier)
	}
	if err := t.header(info, name, ""); err != nil {
		return err
	}
	return t.content(f, info.Size())
}

// earlierName returns the name under which the same file was written before, and remembers this one if there was none.
func (t *writer) earlierName(info fs.FileInfo, name string) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Nlink < 2 {
		return ""
	}
	id := inode{uint64(st.Dev), st.Ino}
	if earlier, ok := t.linked[id]; ok {
		return earlier
	}
	t.linked[id] = name
	return ""
}

func (t *writer) content(f *os.File, size int64) error {
	for size > 0 {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(t.buf[:min(size, int64(len(t.buf)))])
		if _, err := t.tar.Write(t.buf[:n]); err != nil {
			return err
		}
		size -= int64(n)
		if err == io.EOF && size > 0 {
			return fmt.Errorf("%q became shorter while it was read: %w", f.Name(), io.ErrUnexpectedEOF)
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

// header writes the header of a member; for a regular file a link makes it a hard link.
func (t *writer) header(info fs.FileInfo, name, link string) error {
	hdr := &tar.Header{
		Name:     name,
		Linkname: link,
		Mode:     int64(info.Mode().Perm()),
		ModTime:  info.ModTime(),
	}
	if !t.opts.ModTime.IsZero() {
		hdr.ModTime = t.opts.ModTime
	}
	switch {
	case info.IsDir():
		hdr.Typeflag = tar.TypeDir
	case info.Mode().Type() == fs.ModeSymlink:
		hdr.Typeflag = tar.TypeSymlink
	case link != "":
		hdr.Typeflag = tar.TypeLink
	default:
		hdr.Typeflag = tar.TypeReg
		hdr.Size = info.Size()
	}
	if err := t.budget.member(name, link, hdr.Size); err != nil {
		return err
	}
	return t.tar.WriteHeader(hdr)
}
