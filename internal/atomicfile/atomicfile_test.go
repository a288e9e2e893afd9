package atomicfile_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/atomicfile"
)

func Example() {
	dir, err := os.MkdirTemp("", "atomicfile")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := atomicfile.WriteFile(filepath.Join(dir, "state.json"), []byte(`{"apps":2}`), 0o600); err != nil {
		panic(err)
	}
	content, _ := os.ReadFile(filepath.Join(dir, "state.json"))
	fmt.Println(string(content))
	// Output: {"apps":2}
}

func TestWriteFileReplaces(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "state")
	require.NoError(t, os.WriteFile(dir+"/elsewhere", []byte("kept"), 0o600))
	require.NoError(t, os.Symlink("elsewhere", name))
	for _, mode := range []fs.FileMode{0o600, 0o666} {
		require.NoError(t, atomicfile.WriteFile(name, []byte(mode.String()), mode))
		info, err := os.Lstat(name)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode())
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.Equal(t, mode.String(), string(content))
	}
	kept, err := os.ReadFile(dir + "/elsewhere")
	require.NoError(t, err)
	assert.Equal(t, "kept", string(kept))
}

func TestFailureLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+"/taken/by", 0o755))
	require.Error(t, atomicfile.WriteFile(dir+"/taken", []byte("x"), 0o600))
	require.ErrorIs(t, atomicfile.WriteFile(dir+"/missing/x", []byte("x"), 0o600), fs.ErrNotExist)

	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	require.Error(t, atomicfile.WriteFileIn(root, "../x", []byte("x"), 0o600))
	f, err := atomicfile.Create(root, "taken", 0o600)
	require.NoError(t, err)
	_, err = f.WriteString("given up")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())

	for where, want := range map[string]int{dir: 1, dir + "/taken": 1} {
		entries, err := os.ReadDir(where)
		require.NoError(t, err)
		assert.Len(t, entries, want, where)
	}
}

// What is there already is not written again, so that a disk may be full.
func TestUpdateFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state")
	stat := func() os.FileInfo {
		info, err := os.Lstat(name)
		require.NoError(t, err)
		return info
	}
	require.NoError(t, atomicfile.UpdateFile(name, []byte("one"), 0o600))
	before := stat()
	require.NoError(t, atomicfile.UpdateFile(name, []byte("one"), 0o600))
	assert.True(t, os.SameFile(before, stat()))
	for _, change := range []func() error{
		func() error { return os.WriteFile(name, []byte("two"), 0o600) },
		func() error { return os.WriteFile(name, []byte("one and more"), 0o600) },
		func() error { return os.Chmod(name, 0o644) },
		func() error { return os.Symlink(name, name+"2") },
		func() error { return os.Rename(name+"2", name) },
	} {
		require.NoError(t, change())
		require.NoError(t, atomicfile.UpdateFile(name, []byte("one"), 0o600))
		assert.Equal(t, fs.FileMode(0o600), stat().Mode())
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.Equal(t, "one", string(content))
	}
	assert.ErrorContains(t, atomicfile.UpdateFile(filepath.Join(name, "below"), nil, 0o600), "not a directory")
	assert.True(t, atomicfile.IsFull(fmt.Errorf("write: %w", unix.ENOSPC)))
	assert.False(t, atomicfile.IsFull(fs.ErrNotExist))
}
