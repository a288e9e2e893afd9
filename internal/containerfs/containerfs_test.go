package containerfs_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/internal/containerfs"
	"github.com/deakit/deakit/internal/tarball"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// directory is a container that is a directory.
type directory struct{ *os.Root }

func newDirectory(t *testing.T) directory {
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	return directory{root}
}

func (d directory) StreamIn(ctx context.Context, dir, _ string, r io.Reader) error {
	return tarball.Extract(ctx, d.Root, dir, r, tarball.ExtractOptions{})
}

func (d directory) StreamOut(ctx context.Context, p string) (io.ReadCloser, error) {
	if _, err := d.Lstat(strings.TrimPrefix(p, "/")); err != nil {
		return nil, err
	}
	from, to := io.Pipe()
	go func() { to.CloseWithError(tarball.Write(ctx, to, d.Root, p, tarball.Options{Name: filepath.Base(p)})) }()
	return from, nil
}

func TestFiles(t *testing.T) {
	d := newDirectory(t)
	require.NoError(t, containerfs.WriteFiles(t.Context(), d, "/tmp",
		containerfs.Directory("a"), containerfs.Text("a/f", []byte("text")), containerfs.Text("empty", nil)))
	require.NoError(t, d.Symlink("a/f", "tmp/link"))
	require.NoError(t, d.Symlink("../link", "tmp/a/back"))
	require.NoError(t, d.Symlink("/tmp/a/back", "tmp/absolute"))
	require.NoError(t, d.Symlink("loop", "tmp/loop"))
	require.NoError(t, d.Symlink("../../../../etc/hostname", "tmp/out"))

	for _, name := range []string{"/tmp/a/f", "/tmp/link", "/tmp/a/back", "/tmp/absolute"} {
		data, err := containerfs.ReadFile(t.Context(), d, name, 4)
		require.NoError(t, err, name)
		assert.Equal(t, "text", string(data), name)
	}
	for _, name := range []string{"/tmp/none", "/tmp/out"} {
		_, err := containerfs.ReadFile(t.Context(), d, name, 100)
		assert.ErrorIs(t, err, fs.ErrNotExist, name)
	}
	for name, text := range map[string]string{"/tmp/a/f": "4 bytes, more than 3", "/tmp/a": "not a regular file", "/tmp/loop": "too many"} {
		_, err := containerfs.ReadFile(t.Context(), d, name, 3)
		assert.ErrorContains(t, err, text)
	}
}

func TestStreamTellsWhoFailed(t *testing.T) {
	d := newDirectory(t)
	fault := errors.New("a fault")
	var source *containerfs.SourceError

	err := containerfs.Stream(t.Context(), d, "/tmp", func(context.Context, io.Writer) error { return fault })
	assert.ErrorIs(t, err, fault)
	assert.ErrorAs(t, err, &source)

	err = containerfs.Stream(t.Context(), d, "/tmp", func(_ context.Context, w io.Writer) error {
		_, err := io.Copy(w, strings.NewReader(strings.Repeat("no tar ", 100000)))
		return err
	})
	require.Error(t, err)
	assert.False(t, errors.As(err, &source), "%v", err)
}
