package containerkit_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/containerkit"
	"github.com/deakit/deakit/internal/tarball"
)

func TestAwait(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	never, closed := make(chan struct{}), make(chan struct{})
	close(closed)
	require.ErrorIs(t, containerkit.Await(ended, never), context.Canceled)
	for range 20 { // whichever select would draw
		require.NoError(t, containerkit.Await(ended, closed))
	}

	var group sync.WaitGroup
	group.Go(func() { <-never })
	require.ErrorIs(t, containerkit.AwaitAll(ended, &group), context.Canceled)
	close(never)
	require.NoError(t, containerkit.Await(t.Context(), never))
	require.NoError(t, containerkit.AwaitAll(t.Context(), &group))
}

func TestWithin(t *testing.T) {
	gone := errors.New("gone")
	outer, end := context.WithCancelCause(t.Context())
	ctx, done := containerkit.Within(t.Context(), outer)
	defer done()
	require.NoError(t, ctx.Err())
	end(gone)
	<-ctx.Done()
	require.ErrorIs(t, context.Cause(ctx), gone)

	inner, cancel := context.WithCancel(t.Context())
	cancel()
	ctx, done = containerkit.Within(inner, t.Context())
	defer done()
	require.ErrorIs(t, ctx.Err(), context.Canceled)
}

func TestStreamOut(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), make([]byte, 1<<20), 0o600))
	begin := func(outer context.Context) (io.ReadCloser, <-chan struct{}) {
		root, err := os.OpenRoot(dir)
		require.NoError(t, err)
		stream, produce := containerkit.StreamOut(t.Context(), outer, root, "file", tarball.Options{Name: "it"})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			produce()
			_, err := root.Stat(".")
			assert.ErrorIs(t, err, os.ErrClosed)
		}()
		return stream, ended
	}
	stream, ended := begin(t.Context())
	archive := tar.NewReader(stream)
	header, err := archive.Next()
	require.NoError(t, err)
	assert.Equal(t, "it", header.Name)
	n, err := io.Copy(io.Discard, archive)
	require.NoError(t, err)
	assert.EqualValues(t, 1<<20, n)
	require.NoError(t, stream.Close())
	<-ended

	stream, ended = begin(t.Context())
	require.NoError(t, stream.Close(), "which nobody has read")
	<-ended

	gone := errors.New("gone")
	outer, end := context.WithCancelCause(t.Context())
	stream, ended = begin(outer)
	end(gone)
	_, err = io.Copy(io.Discard, stream)
	require.ErrorIs(t, err, gone)
	<-ended
}
