package tarball_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/tarball"
)

var then = time.Date(2014, 2, 1, 10, 0, 0, 0, time.UTC)

func file(name, content string, mode int64) member {
	return member{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, ModTime: then}, content}
}

func dir(name string, mode int64) member {
	return member{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode, ModTime: then}, ""}
}

func link(kind byte, name, target string) member {
	return member{tar.Header{Name: name, Typeflag: kind, Linkname: target, Mode: 0o777, ModTime: then}, ""}
}

type member struct {
	tar.Header
	content string
}

func archive(t testing.TB, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		m.Size = int64(len(m.content))
		require.NoError(t, w.WriteHeader(&m.Header))
		_, err := io.WriteString(w, m.content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// sandbox is a directory with something outside of it that must not be touched.
type sandbox struct {
	outer string
	root  *os.Root
}

func newSandbox(t testing.TB) sandbox {
	t.Helper()
	outer := t.TempDir()
	require.NoError(t, os.WriteFile(outer+"/outside", []byte("untouched"), 0o600))
	require.NoError(t, os.Mkdir(outer+"/in", 0o755))
	root, err := os.OpenRoot(outer + "/in")
	require.NoError(t, err)
	t.Cleanup(func() {
		root.Close()
		// Directories without access would keep an ordinary user from removing them.
		_ = filepath.WalkDir(outer, func(p string, d fs.DirEntry, _ error) error {
			if d != nil && d.IsDir() {
				_ = os.Chmod(p, 0o700)
			}
			return nil
		})
	})
	return sandbox{outer, root}
}

func (s sandbox) extract(data []byte, opts tarball.ExtractOptions) error {
	return tarball.Extract(context.Background(), s.root, ".", bytes.NewReader(data), opts)
}

func (s sandbox) path(name string) string { return filepath.Join(s.outer, "in", name) }

// checkConfined fails the test when an extraction got out, or left something that leads out.
func (s sandbox) checkConfined(t *testing.T) {
	t.Helper()
	outside, err := os.ReadFile(s.outer + "/outside")
	require.NoError(t, err)
	require.Equal(t, "untouched", string(outside))
	info, err := os.Stat(s.outer + "/outside")
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	require.EqualValues(t, 1, info.Sys().(*syscall.Stat_t).Nlink, "the file outside has got a second name")
	entries, err := os.ReadDir(s.outer)
	require.NoError(t, err)
	require.Len(t, entries, 2)

	inner := s.path("")
	err = filepath.WalkDir(inner, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		switch info.Mode().Type() {
		case 0, fs.ModeDir:
			require.Zero(t, info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky), p)
		case fs.ModeSymlink:
			if to, err := filepath.EvalSymlinks(p); err == nil {
				require.True(t, to == inner || strings.HasPrefix(to, inner+"/"), "%s leads to %s", p, to)
			}
		default:
			t.Fatalf("%s is %s", p, info.Mode())
		}
		return nil
	})
	require.NoError(t, err)
}
