package platform_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// zipped returns a directory as a zip file that the zip program made.
func zipped(t *testing.T, dir string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.zip")
	zip := exec.Command("zip", "-q", "-r", path, ".")
	zip.Dir = dir
	out, err := zip.CombinedOutput()
	require.NoError(t, err, "%s", out)
	file, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	return file
}
