package rootfs

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/needs"
)

// mounted makes a container directory whose file system stands on the base, in a path that has what overlayfs takes for
// separators.
func mounted(t *testing.T, layer Layer) (dir, merged string) {
	t.Helper()
	needs.Root(t)
	dir = filepath.Join(t.TempDir(), `a:b,c\d`)
	require.NoError(t, os.Mkdir(dir, 0o711))
	_, err := MakeDisk(t.Context(), DiskConfig{Mode: DiskDirectory}, dir, container.Limits{})
	require.NoError(t, err)
	layer.Dir = dir
	require.NoError(t, layer.Fill())
	require.NoError(t, layer.Mount())
	t.Cleanup(func() { require.NoError(t, Unmount(dir)) })
	return dir, filepath.Join(dir, MergedName)
}

// base makes a root file system with links that lead out of it, and with secrets.
func base(t *testing.T, outside string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "base:1,2")
	for name, content := range map[string]string{
		"etc/secret": "x", "home/someone/key": "x", "tmp/left": "x", "opt/deep/er/hidden/file": "x", "opt/deep/seen": "seen",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "etc/passwd")))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link")))
	require.NoError(t, os.Chown(filepath.Join(dir, "opt/deep"), 5, 6))
	return dir
}

// TestHiddenLinks refuses to hide what is seen elsewhere too.
func TestHiddenLinks(t *testing.T) {
	needs.Root(t)
	for _, hidden := range []string{"/link", "/link/below"} {
		dir := t.TempDir()
		_, err := MakeDisk(t.Context(), DiskConfig{Mode: DiskDirectory}, dir, container.Limits{})
		require.NoError(t, err)
		layer := Layer{Base: base(t, t.TempDir()), Dir: dir, Hidden: []string{hidden}}
		require.ErrorContains(t, layer.Fill(), "hide "+hidden)
	}
}

// TestGivenUp cancels the one of two who wait for a tarball that unpacks it: the other one gets it all the same.
func TestGivenUp(t *testing.T) {
	tar := needs.Tool(t, "tar", "tar")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	tarball := filepath.Join(dir, "base.tar")
	require.NoError(t, exec.Command(tar, "-C", dir, "-cf", tarball, "file").Run())
	// A tar that is held up the first time.
	programs, begun, hold := t.TempDir(), filepath.Join(dir, "begun"), filepath.Join(dir, "hold")
	script := fmt.Sprintf("#!/bin/sh\nif mkdir %s; then mkfifo %s; exec cat %s; fi\nexec %s \"$@\"\n", begun, hold, hold, tar)
	require.NoError(t, os.WriteFile(filepath.Join(programs, "tar"), []byte(script), 0o755))
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))

	bases := NewBases(filepath.Join(dir, "bases"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	results := make(chan error)
	go func() {
		_, err := bases.Resolve(ctx, tarball)
		results <- err
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(begun); return err == nil }, 20*time.Second, time.Millisecond)
	var unpacked string
	go func() {
		var err error
		unpacked, err = bases.Resolve(t.Context(), tarball)
		results <- err
	}()
	require.Eventually(t, func() bool {
		stacks := make([]byte, 1<<20)
		return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "(*Bases).resolve") == 2
	}, 20*time.Second, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-results, context.Canceled)
	require.NoError(t, <-results)
	assert.FileExists(t, filepath.Join(unpacked, "file"))
	info, err := os.Stat(filepath.Dir(unpacked))
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o700), info.Mode().Perm(), "programs with special rights are not for accounts of the host")
}

func TestLayer(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, []byte("root:x:0:0:from outside:/:/bin/sh\n"), 0o644))
	_, merged := mounted(t, Layer{
		Base: base(t, outside), UID: 1234, GID: 1235, Account: 1236, Hostname: "me", Hosts: "127.0.0.1 localhost\n",
		Hidden: []string{"/etc/secret", "/opt/deep/er/hidden", "/tmp/left", "/does/not/exist"},
		Files:  map[string][]byte{"/.program": []byte("x")},
	})
	at := func(name string) string { return filepath.Join(merged, name) }
	content := func(name string) string {
		text, err := os.ReadFile(at(name))
		require.NoError(t, err)
		return string(text)
	}
	assert.Empty(t, content("etc/secret"))
	for _, empty := range []string{"tmp", "opt/deep/er/hidden"} {
		entries, err := os.ReadDir(at(empty))
		require.NoError(t, err)
		assert.Empty(t, entries, empty)
	}
	assert.Equal(t, "seen", content("opt/deep/seen"))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(at("opt/deep"), &st))
	assert.Equal(t, [2]uint32{5, 6}, [2]uint32{st.Uid, st.Gid}, "a directory on the way stays its owner's")
	assert.NoFileExists(t, at("home/someone/key"))
	require.NoError(t, unix.Stat(at("home/vcap"), &st))
	assert.Equal(t, [2]uint32{1234, 1235}, [2]uint32{st.Uid, st.Gid})
	assert.Equal(t, "root:x:0:0:root:/root:/bin/sh\nvcap:x:1236:1236::/home/vcap:/bin/bash\n", content("etc/passwd"), "not through the link")
	assert.Equal(t, "me\n", content("etc/hostname"))
	target, err := os.Readlink(at("link"))
	require.NoError(t, err)
	assert.Equal(t, outside, target)
	require.NoError(t, unix.Stat(at(".program"), &st))
	assert.EqualValues(t, 0o755, st.Mode&0o777)

	require.NoError(t, os.RemoveAll(at("opt")))
	text, err := os.ReadFile(outside)
	require.NoError(t, err)
	assert.Contains(t, string(text), "from outside")
}

// TestLoopDisk takes a disk through its life.
func TestLoopDisk(t *testing.T) {
	needs.Root(t)
	needs.Tool(t, "mkfs.ext4", "e2fsprogs")
	if err := CanLoop(); err != nil {
		needs.Skip(t, err.Error())
	}
	top := t.TempDir()
	cfg := DiskConfig{Mode: DiskLoop, MaxBytes: 256 << 20, Templates: filepath.Join(top, "templates")}
	for _, name := range []string{"first", "second"} { // the second from the template
		dir := filepath.Join(top, name)
		require.NoError(t, os.Mkdir(dir, 0o711))
		d, err := MakeDisk(t.Context(), cfg, dir, container.Limits{DiskBytes: 8 << 20})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, Unmount(dir)) })
		used, err := d.Used(t.Context())
		require.NoError(t, err)
		assert.Less(t, used, int64(64<<10))
		fill := func(bytes int) error { return os.WriteFile(filepath.Join(Upper(dir), "f"), make([]byte, bytes), 0o600) }
		require.ErrorIs(t, fill(9<<20), unix.ENOSPC)
		require.NoError(t, fill(7<<20))
		again, err := OpenDisk(cfg, dir, d.Base())
		require.NoError(t, err)
		used, err = again.Used(t.Context())
		require.NoError(t, err)
		assert.InDelta(t, 7<<20, used, 256<<10)
		require.NoError(t, again.SetLimits(cfg, container.Limits{}))
		require.NoError(t, fill(64<<20))
	}
	var image unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(cfg.Templates, "ext4-268435456-0.img"), &image))
	assert.Less(t, image.Blocks*512, int64(8<<20), "templates are sparse")
}

func TestUsed(t *testing.T) {
	needs.Root(t)
	dir := t.TempDir()
	d, err := MakeDisk(t.Context(), DiskConfig{Mode: DiskDirectory}, dir, container.Limits{})
	require.NoError(t, err)
	before, err := d.Used(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(Upper(dir), "f"), make([]byte, 1<<20), 0o600))
	require.NoError(t, os.Link(filepath.Join(Upper(dir), "f"), filepath.Join(Upper(dir), "g")))
	require.NoError(t, os.Symlink("/", filepath.Join(Upper(dir), "everything")))
	after, err := d.Used(t.Context())
	require.NoError(t, err)
	assert.InDelta(t, 1<<20, after-before, 64<<10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.Used(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
