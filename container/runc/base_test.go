package runc_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
)

// smallBase makes a root file system of busybox.
func smallBase(t testing.TB) string {
	t.Helper()
	busybox := needs.Tool(t, "busybox", "busybox-static")
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	for _, name := range []string{"bin", "etc", "lib", "lib64", "usr"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	copyFile(t, filepath.Join(dir, "bin/busybox"), busybox)
	for _, name := range []string{"sh", "cat", "id", "rm", "echo"} {
		require.NoError(t, os.Symlink("busybox", filepath.Join(dir, "bin", name)))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mark"), []byte("of the base\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("root:x:0:0::/root:/bin/sh"), 0o644))
	// Where busybox is not static, it needs its libraries.
	out, err := exec.Command("sh", "-c", `ldd "$0" 2>/dev/null | grep -o '/[^ ]*' || true`, busybox).Output()
	require.NoError(t, err)
	for lib := range strings.FieldsSeq(string(out)) {
		target := filepath.Join(dir, lib)
		require.NoError(t, os.MkdirAll(filepath.Dir(target), 0o755))
		copyFile(t, target, lib)
	}
	return dir
}

func copyFile(t testing.TB, to, from string) {
	t.Helper()
	content, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, content, 0o755))
}

func archive(t testing.TB, to, dir string) {
	t.Helper()
	tar := needs.Tool(t, "tar", "tar")
	out, err := exec.Command(tar, "-C", dir, "-czf", to, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
}
