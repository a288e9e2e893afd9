package memory

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/deakit/deakit/internal/tarball"
)

// maxStream bounds what one StreamIn may bring, in bytes of the stream, and of its sparse files.
const maxStream = 1 << 30

// StreamIn implements container.Container, for archives of at most 1 GiB. A member that has no place below dir ends it with
// an error; what came before stays.
func (c *Container) StreamIn(ctx context.Context, dir, _ string, stream io.Reader) error {
	if err := c.doActive(ctx, StreamIn, func() error { return c.files.Mkdir(dir) }); err != nil {
		return err
	}
	in := tarball.Bound(ctx, stream, tarball.Limits{MaxBytes: maxStream})
	archive, room := tar.NewReader(in), int64(maxStream)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, in) // padding follows the end mark
			return c.wrap(StreamIn, err)
		}
		var data []byte
		if err == nil && sparse(header) {
			if room -= header.Size; room < 0 {
				err = &tarball.MemberError{Name: header.Name, Reason: tarball.ErrLimit}
			}
		}
		if err == nil {
			data, err = io.ReadAll(archive)
		}
		if err == nil {
			err = c.files.extract(dir, header, data)
		}
		if err != nil {
			return c.wrap(StreamIn, err)
		}
	}
}

// sparse tells whether a file is larger than what the stream holds of it.
func sparse(h *tar.Header) bool {
	for name := range h.PAXRecords {
		if strings.HasPrefix(name, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// extract puts one member of an archive below dir.
func (f *Files) extract(dir string, h *tar.Header, data []byte) error {
	refuse := func(reason error) error {
		return &tarball.MemberError{Name: h.Name, Reason: reason, Detail: h.Linkname}
	}
	if !local(h.Name) {
		return refuse(tarball.ErrPath)
	}
	p := path.Join(clean(dir), h.Name)
	n := &node{mode: h.FileInfo().Mode().Perm(), modTime: h.ModTime, data: data}
	switch h.Typeflag {
	case tar.TypeDir:
		n.mode |= fs.ModeDir
	case tar.TypeReg:
		if h.FileInfo().Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			return refuse(tarball.ErrSetID)
		}
	case tar.TypeSymlink:
		n.mode, n.target = fs.ModeSymlink|0o777, h.Linkname
	case tar.TypeLink:
		f.mu.Lock()
		n = f.nodes[path.Join(clean(dir), h.Linkname)]
		f.mu.Unlock()
		if !local(h.Linkname) || n == nil || n.mode.IsDir() {
			return refuse(tarball.ErrLink)
		}
	default:
		return refuse(tarball.ErrType)
	}
	err := f.put("extract", p, n)
	if errors.Is(err, syscall.ENOTDIR) {
		return refuse(tarball.ErrLink)
	}
	return err
}

func local(member string) bool {
	return member != "" && !path.IsAbs(member) && !slices.Contains(strings.Split(member, "/"), "..")
}

// StreamOut implements container.Container. It gives the files of one moment, and holds nothing that a Close would free.
func (c *Container) StreamOut(ctx context.Context, p string) (io.ReadCloser, error) {
	var archive bytes.Buffer
	err := c.do(ctx, StreamOut, func() error {
		name := path.Base(path.Clean("/" + p))
		if strings.HasSuffix(p, "/") || name == "/" {
			name = "."
		}
		return c.files.archive(&archive, p, name)
	})
	if err != nil {
		return nil, err
	}
	return io.NopCloser(tarball.Bound(ctx, &archive, tarball.Limits{MaxBytes: 1 << 62})), nil
}

// archive writes what stands at p, under a name.
func (f *Files) archive(w io.Writer, p, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.under(clean(p))
	if len(all) == 0 {
		return &fs.PathError{Op: "stream out", Path: p, Err: syscall.ENOENT}
	}
	archive := tar.NewWriter(w)
	names := map[*node]string{}
	for _, at := range all {
		n := f.nodes[at]
		below := strings.TrimPrefix(at, strings.TrimSuffix(all[0], "/"))
		h := tar.Header{Name: name + below, Mode: int64(n.mode.Perm()), ModTime: n.modTime}
		data := n.data
		switch first := names[n]; {
		case n.mode.IsDir():
			h.Typeflag, h.Name = tar.TypeDir, strings.TrimSuffix(h.Name, "/")+"/"
		case n.mode.Type() == fs.ModeSymlink:
			h.Typeflag, h.Linkname = tar.TypeSymlink, n.target
		case first != "":
			h.Typeflag, h.Linkname, data = tar.TypeLink, first, nil
		default:
			h.Typeflag, h.Size, names[n] = tar.TypeReg, int64(len(data)), h.Name
		}
		if err := archive.WriteHeader(&h); err != nil {
			return err
		}
		if _, err := archive.Write(data); err != nil {
			return err
		}
	}
	return archive.Close()
}
