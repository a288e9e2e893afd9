package diskusage_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/diskusage"
)

func of(t *testing.T, dir string) int64 {
	t.Helper()
	f, err := os.Open(dir)
	require.NoError(t, err)
	used, err := diskusage.Of(t.Context(), f)
	require.NoError(t, err)
	_, err = f.Stat()
	assert.ErrorIs(t, err, os.ErrClosed, "it is closed")
	return used
}

func TestWhatCounts(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	const size = 1 << 20
	require.NoError(t, os.WriteFile(filepath.Join(elsewhere, "big"), make([]byte, 8*size), 0o600))
	empty := of(t, dir)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	file := filepath.Join(dir, "a/b/file")
	require.NoError(t, os.WriteFile(file, make([]byte, size), 0o600))
	one := of(t, dir)
	assert.GreaterOrEqual(t, one-empty, int64(size))
	assert.Less(t, one-empty, int64(2*size))

	require.NoError(t, os.Link(file, filepath.Join(dir, "again")))
	require.NoError(t, os.Symlink(elsewhere, filepath.Join(dir, "link")))
	assert.Less(t, of(t, dir)-one, int64(size), "a second name and a link take nothing")
}

func TestEndsWithItsContext(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = diskusage.Of(ctx, dir)
	assert.ErrorIs(t, err, context.Canceled)
}
