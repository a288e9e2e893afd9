package buildpack

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/internal/tarball"
)

// newCopy returns the buildpack of a directory whose files are copied below dir.
func newCopy(s Source, dir string) (*Fetched, error) {
	return newFetched(s.String(), dir, filepath.Base(s.Location), func(ctx context.Context, to string, _ io.Writer) error {
		if err := copyTree(ctx, s.Location, to); err != nil {
			return fmt.Errorf("copy buildpack %s: %w", s, err)
		}
		return nil
	})
}

// copyTree copies what is in a directory to another one, which is empty.
func copyTree(ctx context.Context, from, to string) error {
	source, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer target.Close()
	read, write := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		write.CloseWithError(tarball.Write(ctx, write, source, "/", tarball.Options{}))
	}()
	err = tarball.Extract(ctx, target, ".", read, tarball.ExtractOptions{AbsoluteLinks: true})
	read.CloseWithError(io.ErrClosedPipe)
	<-written
	return err
}
