package tarball_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/tarball"
)

func tree(t *testing.T) sandbox {
	s := newSandbox(t)
	for _, d := range []string{"app/bin", "tmp", "logs"} {
		require.NoError(t, os.MkdirAll(s.path(d), 0o755))
	}
	require.NoError(t, os.WriteFile(s.path("app/z"), []byte("z"), 0o644))
	require.NoError(t, os.WriteFile(s.path("app/bin/run"), []byte("#!"), 0o755))
	require.NoError(t, os.Chmod(s.path("app/bin/run"), fs.ModeSetuid|0o755))
	require.NoError(t, os.WriteFile(s.path("app/"+strings.Repeat("long", 50)), []byte("é"), 0o644))
	require.NoError(t, os.Link(s.path("app/z"), s.path("tmp/hard")))
	require.NoError(t, os.Symlink("../z", s.path("app/bin/link")))
	require.NoError(t, syscall.Mkfifo(s.path("tmp/fifo"), 0o644))
	return s
}

func names(t *testing.T, data []byte) (all []string) {
	t.Helper()
	tr := tar.NewReader(bytes.NewReader(data))
	for {
		hdr, err := tr.Next()
		if err == io.EOF {
			return all
		}
		require.NoError(t, err)
		assert.Zero(t, hdr.Uid+hdr.Gid)
		assert.Empty(t, hdr.Uname+hdr.Gname)
		assert.Zero(t, hdr.Mode&0o7000)
		all = append(all, hdr.Name)
	}
}

func TestWriteAndExtract(t *testing.T) {
	s := tree(t)
	var skipped []string
	opts := tarball.Options{ModTime: then, Skipped: func(name string) { skipped = append(skipped, name) }}
	var first, second bytes.Buffer
	require.NoError(t, tarball.Write(t.Context(), &first, s.root, ".", opts))
	require.NoError(t, tarball.Write(t.Context(), &second, s.root, "/", opts))
	assert.True(t, bytes.Equal(first.Bytes(), second.Bytes()))
	assert.Equal(t, []string{"./", "./app/", "./app/" + strings.Repeat("long", 50), "./app/z", "./app/bin/", "./app/bin/link",
		"./app/bin/run", "./logs/", "./tmp/", "./tmp/hard"}, names(t, first.Bytes()), "files stand before directories")
	assert.Equal(t, []string{"./tmp/fifo", "./tmp/fifo"}, skipped)

	to := newSandbox(t)
	require.NoError(t, to.extract(first.Bytes(), tarball.ExtractOptions{}))
	var third bytes.Buffer
	require.NoError(t, tarball.Write(t.Context(), &third, to.root, ".", opts))
	assert.True(t, bytes.Equal(first.Bytes(), third.Bytes()), "what was extracted differs from what was written")
}

func TestWriteNames(t *testing.T) {
	s := tree(t)
	require.NoError(t, os.Symlink("app", s.path("current")))
	for _, test := range []struct {
		p, name string
		want    []string
	}{
		{"app/bin", "bin", []string{"bin/", "bin/link", "bin/run"}},
		{"app/bin/", "", []string{"./", "./link", "./run"}},
		{"/app/z", "z", []string{"z"}},
		{"current", "current", []string{"current"}},
		{"current/bin", "", []string{"./", "./link", "./run"}},
		{"logs", "a/b", []string{"a/b/"}},
	} {
		var out bytes.Buffer
		require.NoError(t, tarball.Write(t.Context(), &out, s.root, test.p, tarball.Options{Name: test.name}), test.p)
		assert.Equal(t, test.want, names(t, out.Bytes()), test.p)
	}
	require.NoError(t, os.Symlink("../outside", s.path("out")))
	require.NoError(t, os.Symlink("..", s.path("up")))
	require.Error(t, tarball.Write(t.Context(), io.Discard, s.root, "up/", tarball.Options{}))
	require.Error(t, tarball.Write(t.Context(), io.Discard, s.root, "up/outside", tarball.Options{}))
	require.ErrorIs(t, tarball.Write(t.Context(), io.Discard, s.root, "missing", tarball.Options{}), fs.ErrNotExist)
}

// TestWriteExcludes leaves out a file, a directory with all below it, and one but for something in it.
func TestWriteExcludes(t *testing.T) {
	s := tree(t)
	require.NoError(t, os.MkdirAll(s.path("gone/deep"), 0o755))
	require.NoError(t, os.WriteFile(s.path("gone/deep/x"), nil, 0o644))
	var asked []string
	opts := tarball.Options{Exclude: func(name string, dir bool) (exclude, prune bool) {
		asked = append(asked, name)
		info, err := os.Lstat(s.path(name))
		require.NoError(t, err)
		assert.Equal(t, info.IsDir(), dir, name)
		switch name {
		case "app", "tmp/fifo", "app/z":
			return true, false
		case "gone":
			return true, true
		}
		return len(name) > 100, false
	}}
	var out bytes.Buffer
	require.NoError(t, tarball.Write(t.Context(), &out, s.root, "/", opts))
	assert.Equal(t, []string{"./", "./app/bin/", "./app/bin/link", "./app/bin/run", "./logs/", "./tmp/", "./tmp/hard"}, names(t, out.Bytes()))
	assert.NotContains(t, asked, "gone/deep")
}

func TestWriteKeepsLimits(t *testing.T) {
	s := tree(t)
	for name, limits := range map[string]tarball.Limits{"members": {MaxMembers: 9}, "bytes": {MaxBytes: 4}, "path": {MaxPath: 100}} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, tarball.Write(t.Context(), io.Discard, s.root, ".", tarball.Options{Limits: limits}), tarball.ErrLimit)
		})
	}
	deep := newSandbox(t)
	require.NoError(t, os.MkdirAll(deep.path(strings.Repeat("d/", 300)), 0o755))
	require.ErrorIs(t, tarball.Write(t.Context(), io.Discard, deep.root, ".", tarball.Options{}), tarball.ErrLimit)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, tarball.Write(ctx, io.Discard, s.root, ".", tarball.Options{}), context.Canceled)
}

// The program tar reads ours, and we read its archives.
func TestExchangeWithTarProgram(t *testing.T) {
	tarProgram(t)
	s := tree(t)
	require.NoError(t, os.Remove(s.path("tmp/fifo")))
	require.NoError(t, os.Chmod(s.path("app/bin/run"), 0o755))
	var ours bytes.Buffer
	require.NoError(t, tarball.Write(t.Context(), &ours, s.root, ".", tarball.Options{}))
	theirs := t.TempDir()
	cmd := exec.Command("tar", "-C", theirs, "-xf", "-")
	cmd.Stdin = bytes.NewReader(ours.Bytes())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))

	for _, format := range []string{"gnu", "pax"} {
		data, err := exec.Command("tar", "-C", theirs, "--format="+format, "-cf", "-", ".").Output()
		require.NoError(t, err)
		to := newSandbox(t)
		require.NoError(t, to.extract(data, tarball.ExtractOptions{}), format)
		var again bytes.Buffer
		require.NoError(t, tarball.Write(t.Context(), &again, to.root, ".", tarball.Options{ModTime: then}))
		var first bytes.Buffer
		require.NoError(t, tarball.Write(t.Context(), &first, s.root, ".", tarball.Options{ModTime: then}))
		assert.True(t, bytes.Equal(first.Bytes(), again.Bytes()), format)
	}
}
