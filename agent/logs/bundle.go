package logs

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
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

	"github.com/klauspost/compress/gzip"
)

// A Type is whose logs are wanted.
type Type string

// The types.
const (
	Job    Type = "job"    // base/sys/log
	Agent  Type = "agent"  // base/bosh/log
	System Type = "system" // /var/log; below var/log in the archive
)

// ErrType: an unknown type of logs.
var ErrType = errors.New("Invalid log type")

// ErrTooLarge: the logs exceed a limit of [Config]. A filter may help.
var ErrTooLarge = errors.New("logs are too large")

// ParseTypes reads a comma-separated list of types. It fails with ErrType.
func ParseTypes(list string) ([]Type, error) {
	var types []Type
	for name := range strings.SplitSeq(list, ",") {
		t := Type(strings.TrimSpace(name))
		if t != Job && t != Agent && t != System {
			return nil, fmt.Errorf("%w %.40q: want job, agent or system, or several with commas between", ErrType, name)
		}
		if !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	return types, nil
}

// Config says where logs are, and how much of them is taken.
type Config struct {
	Base      string // base directory, "/var/vcap"; required
	SystemDir string // default /var/log

	MaxBytes int64 // of all files, uncompressed; default 8 GiB
	MaxFiles int   // that are looked at, taken or not; default 200,000
}

// Result tells what went into an archive.
type Result struct {
	Files   int
	Bytes   int64    // uncompressed
	Skipped []string // names of files that matched and could not be read, or lie outside; at most 100
}

// Write writes a gzip'ed tar archive of the logs to w. Without filters it has all files, else those that a filter matches; with no
// match it is empty. A filter is a glob below the log directory with "**" for any number of directories; one that matches a
// directory takes all below it.
//
// Links to files are followed where they lead to files below the same log directory; links to directories are not. A file that
// grows meanwhile is taken as long as it was, one that shrinks is filled up with zeros, as tar does. Times and permissions are
// kept, owners are not. It fails with ErrType, ErrPattern or ErrTooLarge, among others, and then the archive is of no use.
func Write(ctx context.Context, w io.Writer, cfg Config, types []Type, filters []string) (Result, error) {
	if cfg.Base == "" {
		return Result{}, errors.New("bundle logs: Config.Base is missing: the base directory")
	}
	match, err := compile(filters)
	if err != nil {
		return Result{}, err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	compressed := gzip.NewWriter(out)
	b := &bundle{
		ctx: ctx, match: match, tar: tar.NewWriter(compressed), names: map[string]bool{}, buf: make([]byte, 64<<10),
		bytesLeft: cmp.Or(cfg.MaxBytes, 8<<30), filesLeft: cmp.Or(cfg.MaxFiles, 200_000),
	}
	if err := b.header(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}); err != nil {
		return Result{}, err
	}
	for _, t := range types {
		if err := b.add(cfg, t); err != nil {
			return Result{}, fmt.Errorf("bundle logs of type %s: %w", t, err)
		}
	}
	if err := errors.Join(b.tar.Close(), compressed.Close(), out.Flush()); err != nil {
		return Result{}, fmt.Errorf("bundle logs: %w", err)
	}
	return b.result, nil
}

// A bundle is one archive that is being written.
type bundle struct {
	ctx       context.Context
	match     func(name string) bool
	tar       *tar.Writer
	names     map[string]bool // in the archive
	buf       []byte
	bytesLeft int64
	filesLeft int
	result    Result
}

// maxDepth bounds nested directories, each of which is open meanwhile.
const maxDepth = 64

// add writes the logs of one type. A directory that is missing has none.
func (b *bundle) add(cfg Config, t Type) error {
	dir, prefix := "", ""
	switch t {
	case Job:
		dir = filepath.Join(cfg.Base, "sys/log")
	case Agent:
		dir = filepath.Join(cfg.Base, "bosh/log")
	case System:
		dir, prefix = cmp.Or(cfg.SystemDir, "/var/log"), "var/log"
	default:
		return fmt.Errorf("%w %.40q", ErrType, string(t))
	}
	real, err := filepath.EvalSymlinks(dir) // the way there is the agent's own
	if err == nil {
		var root *os.Root
		if root, err = os.OpenRoot(real); err == nil {
			defer root.Close()
			return b.directory(&tree{root, real, prefix, t}, ".", false, 0)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// A tree is one log directory.
type tree struct {
	root   *os.Root
	real   string // path without links
	prefix string // of its names in the archive
	kind   Type
}

// directory adds what is in a directory: all of it, or what matches.
func (b *bundle) directory(t *tree, dir string, all bool, depth int) error {
	if depth > maxDepth {
		b.skip(dir)
		return nil
	}
	entries, err := fs.ReadDir(t.root.FS(), dir) // sorted by name
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		b.skip(dir)
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := b.ctx.Err(); err != nil {
			return context.Cause(b.ctx)
		}
		if b.filesLeft--; b.filesLeft < 0 {
			return fmt.Errorf("%w: there are too many files", ErrTooLarge)
		}
		name := path.Join(dir, entry.Name())
		taken := all || b.match(name)
		switch {
		case entry.IsDir():
			if err := b.directory(t, name, taken, depth+1); err != nil {
				return err
			}
		case taken:
			if err := b.file(t, name, entry.Type()); err != nil {
				return err
			}
		}
	}
	return nil
}

// file adds one file, or what a link leads to.
func (b *bundle) file(t *tree, name string, kind fs.FileMode) error {
	source := name
	if kind == fs.ModeSymlink {
		var ok bool
		if source, ok = t.follow(name); !ok {
			b.skip(name)
			return nil
		}
	}
	// A FIFO must not stop us. What has become a link meanwhile leads nowhere out of the log directory: that is the root.
	f, err := t.root.OpenFile(source, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		b.skip(name)
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		b.skip(name)
		return err
	}
	if b.bytesLeft -= info.Size(); b.bytesLeft < 0 {
		return fmt.Errorf("%w: they are longer than allowed, with %s", ErrTooLarge, name)
	}
	err = b.header(&tar.Header{
		Typeflag: tar.TypeReg, Name: b.unique(t, name), Size: info.Size(), Mode: int64(info.Mode().Perm()), ModTime: info.ModTime(),
	})
	if err != nil {
		return err
	}
	b.result.Files++
	b.result.Bytes += info.Size()
	return b.content(f, info.Size())
}

// follow returns where a link leads, if that is below the log directory.
func (t *tree) follow(name string) (string, bool) {
	target, err := filepath.EvalSymlinks(filepath.Join(t.real, name))
	if err != nil {
		return "", false
	}
	below, err := filepath.Rel(t.real, target)
	return below, err == nil && filepath.IsLocal(below)
}

// unique is the name in the archive. Where logs of an earlier type have it, the type comes first.
func (b *bundle) unique(t *tree, name string) string {
	name = path.Join(t.prefix, name)
	for b.names[name] {
		name = path.Join(string(t.kind), name)
	}
	b.names[name] = true
	return "./" + name
}

func (b *bundle) header(h *tar.Header) error {
	h.Format = tar.FormatPAX // long names, and times to the nanosecond
	return b.tar.WriteHeader(h)
}

// content writes as much as the header says.
func (b *bundle) content(f *os.File, size int64) error {
	for size > 0 {
		if err := b.ctx.Err(); err != nil {
			return context.Cause(b.ctx)
		}
		part := b.buf[:min(size, int64(len(b.buf)))]
		n, err := io.ReadFull(f, part)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		clear(part[n:]) // it became shorter
		if _, err := b.tar.Write(part); err != nil {
			return err
		}
		size -= int64(len(part))
	}
	return nil
}

func (b *bundle) skip(name string) {
	if len(b.result.Skipped) < 100 {
		b.result.Skipped = append(b.result.Skipped, name)
	}
}
