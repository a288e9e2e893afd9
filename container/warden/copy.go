package warden

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
	"github.com/deakit/deakit/internal/tarball"
)

// Both copies name things as rsync does: a source that ends in "/" stands for what is in it, any other for itself; one
// file goes below a destination that is a directory or ends in "/", and otherwise takes its name.

// named returns a path in which a last "." or ".." is told from a name: rsync takes both for what is in the directory.
func named(p string) string {
	if last := path.Base(p); !strings.HasSuffix(p, "/") && (last == "." || last == "..") {
		return p + "/"
	}
	return p
}

// copyIn reads what stands at a path of this machine, as this process may, and gives it to the app user.
func (c *session) copyIn(g *guest, r *protocol.CopyInRequest) (*protocol.CopyInResponse, error) {
	src, dst := named(r.GetSrcPath()), named(r.GetDstPath())
	if !path.IsAbs(src) || !path.IsAbs(dst) {
		return nil, fmt.Errorf("copy %q to %q: both paths must be absolute: %w", src, dst, container.ErrInvalid)
	}
	if err := g.copyIn(c.s.ctx, src, dst); err != nil {
		return nil, err
	}
	return &protocol.CopyInResponse{}, nil
}

func (g *guest) copyIn(ctx context.Context, src, dst string) error {
	name := path.Base(src)
	if strings.HasSuffix(src, "/") {
		name = "."
		resolved, err := filepath.EvalSymlinks(src)
		if err != nil {
			return err
		}
		src = resolved + "/"
	}
	info, err := os.Lstat(path.Clean(src))
	if err != nil {
		return err
	}
	if !info.IsDir() && !strings.HasSuffix(dst, "/") && !g.isDir(ctx, dst) {
		dst, name = path.Dir(dst), path.Base(dst)
	}
	root, err := os.OpenRoot(path.Dir(path.Clean(src)))
	if err != nil {
		return err
	}
	defer root.Close()
	rel := path.Base(src)
	if name == "." {
		rel += "/"
	}
	from, to := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		to.CloseWithError(tarball.Write(ctx, to, root, rel, tarball.Options{Name: name}))
	}()
	err = g.c.StreamIn(ctx, dst, container.AppUser, from)
	from.Close() // ends the writing, if it has not
	<-written
	return err
}

// isDir tells whether a path of the container is a directory, or a link to one.
func (g *guest) isDir(ctx context.Context, p string) bool {
	stream, err := g.c.StreamOut(ctx, p+"/")
	if err != nil {
		return false
	}
	defer stream.Close()
	first, err := tar.NewReader(stream).Next()
	return err == nil && first.Typeflag == tar.TypeDir
}

// copyOut writes what stands at a path of the container to a path of this machine, as this process may.
func (c *session) copyOut(g *guest, r *protocol.CopyOutRequest) (*protocol.CopyOutResponse, error) {
	src, dst := named(r.GetSrcPath()), named(r.GetDstPath())
	if !path.IsAbs(src) || !path.IsAbs(dst) {
		return nil, fmt.Errorf("copy %q to %q: both paths must be absolute: %w", src, dst, container.ErrInvalid)
	}
	owner, err := parseOwner(r.GetOwner())
	if err != nil {
		return nil, err
	}
	if err := g.copyOut(c.s.ctx, src, dst, owner); err != nil {
		return nil, err
	}
	return &protocol.CopyOutResponse{}, nil
}

func (g *guest) copyOut(ctx context.Context, src, dst string, owner *tarball.Owner) error {
	stream, err := g.c.StreamOut(ctx, src)
	if err != nil {
		return err
	}
	defer stream.Close()
	var seen bytes.Buffer
	first, err := tar.NewReader(io.TeeReader(stream, &seen)).Next()
	if err != nil {
		return err
	}
	archive := io.MultiReader(&seen, stream)
	info, err := os.Stat(dst)
	switch {
	case first.Typeflag == tar.TypeDir, strings.HasSuffix(dst, "/"), err == nil && info.IsDir():
		return unpack(ctx, archive, dst, owner)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return unpackAs(ctx, archive, dst, owner)
}

// unpack unpacks below a directory, which it makes if only that is missing.
func unpack(ctx context.Context, archive io.Reader, dir string, owner *tarball.Owner) error {
	err := os.Mkdir(dir, 0o755)
	if err == nil && owner != nil {
		err = os.Lchown(dir, owner.UID, owner.GID)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return tarball.Extract(ctx, root, ".", archive, tarball.ExtractOptions{AbsoluteLinks: true, Owner: owner})
}

// unpackAs unpacks the only member of an archive under a name of its own.
func unpackAs(ctx context.Context, archive io.Reader, name string, owner *tarball.Owner) error {
	temp, err := os.MkdirTemp(path.Dir(name), ".copy-out-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := unpack(ctx, archive, temp, owner); err != nil {
		return err
	}
	members, err := os.ReadDir(temp)
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := os.Rename(path.Join(temp, m.Name()), name); err != nil {
			return err
		}
	}
	return nil
}
