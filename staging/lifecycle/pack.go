package lifecycle

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/tarball"
)

// pack writes the droplet and the cache.
func (b *builder) pack(ctx context.Context, res result) error {
	info, err := res.stagingInfo()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.build.Root, droplet.InfoName), info, 0o644); err != nil {
		return err
	}
	err = writeArchive(ctx, b.OutputDroplet, tree{b.build.Root, "."}, tree{b.BuildDir, "./app"})
	if err != nil {
		return fmt.Errorf("Failed to compress droplet filesystem: %w", err)
	}
	if err := writeArchive(ctx, b.OutputBuildArtifactsCache, tree{b.BuildArtifactsCacheDir, "."}); err != nil {
		return fmt.Errorf("Failed to compress build artifacts: %w", err)
	}
	return nil
}

// A tree is a directory and what it is called in an archive.
type tree struct{ dir, name string }

// writeArchive writes trees one behind the other as one gzip-compressed tar file. After an error there is none.
func writeArchive(ctx context.Context, name string, trees ...tree) (err error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		info, _ := file.Stat()
		err = errors.Join(err, file.Close())
		if err != nil && info != nil && info.Mode().IsRegular() { // and no /dev/null
			err = errors.Join(err, os.Remove(name))
		}
	}()
	from, to := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		to.CloseWithError(join(ctx, to, trees))
	}()
	_, err = droplet.Compress(ctx, file, from, droplet.PackOptions{})
	from.CloseWithError(io.ErrClosedPipe)
	<-written
	return err
}

// join writes the trees as one plain tar stream.
func join(ctx context.Context, w io.Writer, trees []tree) error {
	archive := tar.NewWriter(w)
	for _, t := range trees {
		if err := t.add(ctx, archive); err != nil {
			return err
		}
	}
	return archive.Close()
}

// add copies the members of the tree, without the end of their archive.
func (t tree) add(ctx context.Context, archive *tar.Writer) error {
	if info, err := os.Lstat(t.dir); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("a buildpack has put something else in place of the directory %s", t.dir)
	}
	root, err := os.OpenRoot(t.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	from, to := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		to.CloseWithError(tarball.Write(ctx, to, root, "/", tarball.Options{Name: t.name}))
	}()
	err = copyMembers(archive, tar.NewReader(from))
	from.CloseWithError(io.ErrClosedPipe)
	<-written
	return err
}

func copyMembers(to *tar.Writer, from *tar.Reader) error {
	for {
		header, err := from.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := to.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(to, from); err != nil {
			return err
		}
	}
}
