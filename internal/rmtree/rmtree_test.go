package rmtree_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/rmtree"
)

// TestDeepTree: an app can nest directories deeper than there are file descriptors.
func TestDeepTree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	require.NoError(t, os.Mkdir(dir, 0o755))
	at, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	require.NoError(t, err)
	for n := range 600 {
		require.NoError(t, unix.Mkdirat(at, "d", 0o755))
		require.NoError(t, unix.Mkdirat(at, "e", 0o755))
		next, err := unix.Openat(at, "d", unix.O_DIRECTORY|unix.O_RDONLY, 0)
		require.NoError(t, err)
		if n%100 == 0 {
			require.NoError(t, unix.Fchmod(at, 0o500))
		}
		require.NoError(t, unix.Close(at))
		at = next
	}
	require.NoError(t, unix.Close(at))

	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }()
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 256, Max: limit.Max}))
	require.NoError(t, rmtree.Path(dir))
	_, err = os.Lstat(dir)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

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
