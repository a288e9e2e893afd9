package rmtree_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/rmtree"
)

func TestPath(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.Mkdir(outside, 0o500))
	dir := filepath.Join(t.TempDir(), "dir")
	for _, name := range []string{"closed/deep", "read-only/deep"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "file"), nil, 0))
	}
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link")))
	require.NoError(t, os.Chmod(filepath.Join(dir, "read-only", "deep"), 0o500))
	require.NoError(t, os.Chmod(filepath.Join(dir, "read-only"), 0o500))
	require.NoError(t, os.Chmod(filepath.Join(dir, "closed"), 0))
	require.NoError(t, os.Chmod(dir, 0))

	require.NoError(t, rmtree.Path(dir))
	_, err := os.Lstat(dir)
	assert.ErrorIs(t, err, os.ErrNotExist)
	info, err := os.Stat(outside)
	require.NoError(t, err)
	assert.EqualValues(t, 0o500, info.Mode().Perm())
	assert.NoError(t, rmtree.Path(dir), "again")
	assert.NoError(t, rmtree.Path(filepath.Join(dir, "below")))
}
