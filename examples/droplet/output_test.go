package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/needs"
)

// writers are the commands that write a file: each with the flag in front of its name.
func (d *desk) writers() map[string][]string {
	d.t.Helper()
	d.file("app/x", "")
	d.packed("x.tgz")
	d.succeeds("export", "x.tgz", "--oci", "image")
	return map[string][]string{
		"stage":          {"stage", "app", "--backend", "process", "--no-cache", "-b", d.pack("bp", "compile", "true"), "-o"},
		"repack":         {"repack", "x.tgz", "-o"},
		"import":         {"import", "image", "-o"},
		"oci-archive":    {"export", "x.tgz", "--oci-archive"},
		"docker-archive": {"export", "x.tgz", "--docker-archive"},
	}
}

func kind(t *testing.T, name string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(name)
	require.NoError(t, err)
	return info.Mode().Type()
}

func TestWhatIsNoFileIsNotReplaced(t *testing.T) {
	d := newDesk(t)
	for name, args := range d.writers() {
		require.NoError(t, os.Symlink("target", d.path("link")))
		code, _, errs := d.run(append(args, "link")...)
		assert.Equal(t, exitUsage, code, "%s: a link that leads nowhere: %s", name, errs)
		d.file("target", "old")
		d.succeeds(append(args, "link")...)
		assert.Equal(t, os.ModeSymlink, kind(t, d.path("link")), name)
		info, err := os.Stat(d.path("target"))
		require.NoError(t, err)
		assert.Greater(t, info.Size(), int64(len("old")), name)
		require.NoError(t, os.Remove(d.path("link")))
		require.NoError(t, os.Remove(d.path("target")))

		require.NoError(t, syscall.Mkfifo(d.path("fifo"), 0o600))
		p := d.start(append(args, "fifo")...)
		reader, err := os.Open(d.path("fifo"))
		require.NoError(t, err)
		content, err := io.ReadAll(reader)
		require.NoError(t, err)
		require.NoError(t, reader.Close())
		assert.Equal(t, exitOK, p.wait(), "%s: %s", name, p.err)
		assert.NotEmpty(t, content, name)
		assert.Equal(t, os.ModeNamedPipe, kind(t, d.path("fifo")), name)
		require.NoError(t, os.Remove(d.path("fifo")))

		require.NoError(t, unix.Mknod(d.path("socket"), unix.S_IFSOCK|0o600, 0))
		code, _, errs = d.run(append(args, "socket")...)
		assert.Equal(t, exitUsage, code, name)
		assert.Contains(t, errs, "socket is a socket")
		require.NoError(t, os.Remove(d.path("socket")))

		code, _, errs = d.run(append(args, "/dev/stdout")...)
		assert.Equal(t, exitUsage, code, name)
		assert.Contains(t, errs, "/dev/stdout is standard output", name)
	}
}

func TestDevicesAreWrittenTo(t *testing.T) {
	needs.Root(t)
	d := newDesk(t)
	device, dev := d.path("null"), unix.Mkdev(1, 3) // as /dev/null, which every program of the machine needs
	require.NoError(t, unix.Mknod(device, unix.S_IFCHR|0o666, int(dev)))
	for name, args := range d.writers() {
		d.succeeds(append(args, "null")...)
		assert.Equal(t, os.ModeDevice|os.ModeCharDevice, kind(t, device), name)
	}
	code, _, errs := d.run("stage", "app", "--backend", "process", "--cache", "null", "-o", "y.tgz")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errs, "--no-cache")
	assert.Equal(t, os.ModeDevice|os.ModeCharDevice, kind(t, device))
	code, _, errs = d.run("inspect", "null")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errs, "null is a device, and no file")
}

// TestNobodyReadsTheFIFO ends the program while it waits for a reader, and while it waits for one that does not read.
func TestNobodyReadsTheFIFO(t *testing.T) {
	d := newDesk(t)
	require.NoError(t, syscall.Mkfifo(d.path("fifo"), 0o600))
	d.file("app/x", "")
	pack := d.pack("bp", "compile", "echo at work; head -c 4000000 /dev/urandom >$1/random")
	args := []string{"stage", "app", "--backend", "process", "-b", pack, "-o", "fifo"}
	p := d.start(args...)
	p.signal(os.Interrupt)
	assert.Contains(t, []int{exitSignal, -1}, p.wait()) // it may come before anybody listens

	p = d.start(args...)
	reader, err := os.Open(d.path("fifo"))
	require.NoError(t, err)
	defer reader.Close()
	p.saw("at work\n")
	_, err = reader.Read(make([]byte, 1))
	require.NoError(t, err)
	p.signal(os.Interrupt)
	assert.Equal(t, exitSignal, p.wait())
	code, _, errs := d.run("inspect", "fifo")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errs, "fifo is a FIFO, and no file")
}

func TestLinkToDirectoryForImage(t *testing.T) {
	d := newDesk(t)
	d.packed("x.tgz")
	require.NoError(t, os.Mkdir(d.path("dir"), 0o755))
	require.NoError(t, os.Symlink("dir", d.path("link")))
	d.succeeds("export", "x.tgz", "--oci", "link")
	assert.Equal(t, os.ModeSymlink, kind(t, d.path("link")))
	assert.FileExists(t, d.path("dir", "index.json"))
	code, _, errs := d.run("export", "x.tgz", "--oci", "x.tgz")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, errs, "x.tgz is a file")
}

func TestCachesReplaceNothingElse(t *testing.T) {
	d := newDesk(t)
	d.file("app/x", "")
	pack := d.pack("bp", "compile", "echo x >$2/kept")
	d.file("f.txt", "precious")
	d.packed("x.tgz")
	before := digestOf(t, d.path("x.tgz"))
	for _, name := range []string{"f.txt", "x.tgz", "droplet.tgz"} {
		code, _, errs := d.run("stage", "app", "-b", pack, "--backend", "process", "--cache", name)
		assert.Equal(t, exitUsage, code, errs)
		assert.Contains(t, errs, "--cache: "+name+" is ")
	}
	content, err := os.ReadFile(d.path("f.txt"))
	require.NoError(t, err)
	assert.Equal(t, "precious", string(content))
	assert.Equal(t, before, digestOf(t, d.path("x.tgz")))
	d.file("empty", "")
	d.succeeds("stage", "app", "-b", pack, "--backend", "process", "--cache", "empty")
	require.NoError(t, os.Symlink("empty", d.path("link")))
	out := d.succeeds("stage", "app", "-b", pack, "--backend", "process", "--cache", "link")
	assert.Regexp(t, `(?m)^cache +link  `, out)
	assert.Equal(t, os.ModeSymlink, kind(t, d.path("link")))
}

// members lists what is in the directory app of a droplet.
func (d *desk) members(name string) []string {
	d.t.Helper()
	to := d.t.TempDir()
	file, err := os.Open(d.path(name))
	require.NoError(d.t, err)
	defer file.Close()
	root, err := os.OpenRoot(to)
	require.NoError(d.t, err)
	defer root.Close()
	require.NoError(d.t, droplet.Unpack(d.t.Context(), file, root, ".", droplet.UnpackOptions{}))
	var names []string
	require.NoError(d.t, filepath.WalkDir(filepath.Join(to, "app"), func(p string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, strings.TrimPrefix(p, to+"/app/"))
		}
		return err
	}))
	return names
}

func TestDropletInItsOwnSource(t *testing.T) {
	d := newDesk(t)
	pack := d.pack("bp", "compile", "true")
	d.file("app/x", "")
	d.file("app/other.tgz", "of the app")
	d.file("app/sub/droplet.tgz", "of the app as well")
	flags := []string{"-b", pack, "--backend", "process", "--cache", "app/cache"}
	for range 2 {
		d.succeeds(append([]string{"stage", "app", "-o", "app/droplet.tgz"}, flags...)...)
		assert.Equal(t, []string{"other.tgz", "sub/droplet.tgz", "x"}, d.members("app/droplet.tgz"))
	}
	require.NoError(t, os.Symlink("../elsewhere.tgz", d.path("app", "link")))
	d.file("elsewhere.tgz", "")
	d.succeeds(append([]string{"stage", "app", "-o", "app/link"}, flags...)...)
	assert.Equal(t, []string{"droplet.tgz", "other.tgz", "sub/droplet.tgz", "x"}, d.members("elsewhere.tgz"))

	require.NoError(t, os.Remove(d.path("app", "link")))
	p := d.startIn("app", "stage", ".", "-b", pack, "--backend", "process", "--no-cache")
	assert.Equal(t, exitOK, p.wait(), p.err)
	assert.NotContains(t, d.members("app/droplet.tgz"), "droplet.tgz")
}

func TestIgnoredFiles(t *testing.T) {
	d := newDesk(t)
	pack := d.pack("bp", "compile", "true")
	for _, name := range []string{".git/HEAD", ".gitignore", "sub/.DS_Store", "manifest.yml", "sub/manifest.yml", "x.log", "keep.log", "tmp/x", "y"} {
		d.file("app/"+name, "")
	}
	d.file("app/.cfignore", "*.log\n!keep.log\n/tmp/\n")
	d.succeeds("stage", "app", "-b", pack, "--backend", "process")
	assert.Equal(t, []string{"keep.log", "sub/manifest.yml", "y"}, d.members("droplet.tgz"))
	d.file("app/.cfignore", "fine\n[\n")
	code, _, errs := d.run("stage", "app", "-b", pack, "--backend", "process")
	assert.Equal(t, exitSource, code)
	assert.Contains(t, errs, `app: .cfignore cannot be used: line 2 is no pattern: "["`)
}
