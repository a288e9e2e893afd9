package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet"
)

// TestPackLeavesOutWhatTheCLIDoes packs a directory with a repository and a .cfignore.
func TestPackLeavesOutWhatTheCLIDoes(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{".git/HEAD": "", ".cfignore": "*.log\n", "x.log": "", "app.py": ""} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	packed, err := packSource(t.Context(), dir)
	require.NoError(t, err)
	defer packed.Close()
	to := t.TempDir()
	root, err := os.OpenRoot(to)
	require.NoError(t, err)
	defer root.Close()
	require.NoError(t, droplet.Unpack(t.Context(), packed, root, ".", droplet.UnpackOptions{}))
	entries, err := os.ReadDir(to)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.Equal(t, "app.py", entries[0].Name())

	require.NoError(t, os.WriteFile(filepath.Join(dir, ".cfignore"), []byte("["), 0o644))
	_, err = packSource(t.Context(), dir)
	assert.ErrorContains(t, err, "line 1 is no pattern")
}
