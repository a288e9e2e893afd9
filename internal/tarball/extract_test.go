package tarball_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/tarball"
)

func TestExtractRefusesHostileMembers(t *testing.T) {
	device := member{tar.Header{Name: "dev", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}, ""}
	for name, test := range map[string]struct {
		members []member
		reason  error
	}{
		"absolute path":           {[]member{file("/etc/x", "x", 0o644)}, tarball.ErrPath},
		"parent path":             {[]member{file("../outside", "x", 0o644)}, tarball.ErrPath},
		"parent path inside":      {[]member{file("a/../../outside", "x", 0o644)}, tarball.ErrPath},
		"harmless parent path":    {[]member{file("a/../b", "x", 0o644)}, tarball.ErrPath},
		"parent directory":        {[]member{dir("..", 0o777)}, tarball.ErrPath},
		"file named dot":          {[]member{file(".", "", 0o644)}, tarball.ErrPath},
		"link over the target":    {[]member{link(tar.TypeSymlink, ".", "x")}, tarball.ErrPath},
		"absolute symlink":        {[]member{link(tar.TypeSymlink, "l", "/etc/passwd")}, tarball.ErrLink},
		"escaping symlink":        {[]member{link(tar.TypeSymlink, "l", "../outside")}, tarball.ErrLink},
		"escaping symlink deep":   {[]member{link(tar.TypeSymlink, "a/b/l", "../../../outside")}, tarball.ErrLink},
		"symlink to the parent":   {[]member{link(tar.TypeSymlink, "l", "..")}, tarball.ErrLink},
		"symlink without target":  {[]member{link(tar.TypeSymlink, "l", "")}, tarball.ErrLink},
		"escape by two symlinks":  {[]member{link(tar.TypeSymlink, "a/b/l", "../.."), link(tar.TypeSymlink, "m", "a/b/l/../outside")}, tarball.ErrLink},
		"write through a symlink": {[]member{dir("d", 0o755), link(tar.TypeSymlink, "l", "d"), file("l/x", "x", 0o644)}, tarball.ErrLink},
		"path through a file":     {[]member{file("f", "x", 0o644), file("f/x", "x", 0o644)}, tarball.ErrPath},
		"absolute hard link":      {[]member{link(tar.TypeLink, "l", "/etc/passwd")}, tarball.ErrLink},
		"escaping hard link":      {[]member{link(tar.TypeLink, "l", "../outside")}, tarball.ErrLink},
		"hard link by a symlink":  {[]member{dir("d", 0o755), file("d/f", "", 0o644), link(tar.TypeSymlink, "s", "d"), link(tar.TypeLink, "l", "s/f")}, tarball.ErrLink},
		"hard link to directory":  {[]member{dir("d", 0o755), link(tar.TypeLink, "l", "d")}, tarball.ErrLink},
		"hard link to itself":     {[]member{file("l", "", 0o644), link(tar.TypeLink, "l", "l")}, tarball.ErrLink},
		"hard link to a symlink":  {[]member{link(tar.TypeSymlink, "a/l", "../outside"), link(tar.TypeLink, "l", "a/l")}, tarball.ErrLink},
		"character device":        {[]member{device}, tarball.ErrType},
		"FIFO":                    {[]member{{tar.Header{Name: "p", Typeflag: tar.TypeFifo, Mode: 0o644}, ""}}, tarball.ErrType},
		"setuid":                  {[]member{file("x", "x", 0o4755)}, tarball.ErrSetID},
		"setgid":                  {[]member{file("x", "x", 0o2755)}, tarball.ErrSetID},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			err := s.extract(archive(t, test.members...), tarball.ExtractOptions{})
			require.ErrorIs(t, err, test.reason)
			var refused *tarball.MemberError
			require.ErrorAs(t, err, &refused)
			s.checkConfined(t)
		})
	}
}

func TestExtractKeepsLimits(t *testing.T) {
	big := file("big", strings.Repeat("x", 10_000), 0o644)
	for name, test := range map[string]struct {
		limits tarball.Limits
		data   []byte
		fails  bool
	}{
		"one file too large":    {tarball.Limits{MaxBytes: 9_999}, archive(t, big), true},
		"two files too large":   {tarball.Limits{MaxBytes: 19_999}, archive(t, big, file("b2", big.content, 0o644)), true},
		"headers count":         {tarball.Limits{MaxBytes: 2_000}, archive(t, dir("a", 0o755), dir("b", 0o755), dir("c", 0o755)), true},
		"stream at the limit":   {tarball.Limits{MaxBytes: int64(len(archive(t, big)))}, archive(t, big), false},
		"stream over the limit": {tarball.Limits{MaxBytes: int64(len(archive(t, big)))}, append(archive(t, big), 0), true},
		"members":               {tarball.Limits{MaxMembers: 1}, archive(t, dir("a", 0o755), dir("b", 0o755)), true},
		"members at the limit":  {tarball.Limits{MaxMembers: 2}, archive(t, dir("a", 0o755), dir("b", 0o755)), false},
		"all that there is":     {tarball.Limits{MaxBytes: math.MaxInt64}, archive(t, big), false},
		"long name":             {tarball.Limits{MaxPath: 10}, archive(t, dir("12345678901", 0o755)), true},
		"long target":           {tarball.Limits{MaxPath: 10}, archive(t, link(tar.TypeSymlink, "a", "12345678901")), true},
	} {
		t.Run(name, func(t *testing.T) {
			err := newSandbox(t).extract(test.data, tarball.ExtractOptions{Limits: test.limits})
			if test.fails {
				require.ErrorIs(t, err, tarball.ErrLimit)
				return
			}
			require.NoError(t, err)
		})
	}
}

// A sparse file is small in the stream and large on disk.
func TestExtractCountsSparseContent(t *testing.T) {
	tarProgram(t)
	work := t.TempDir()
	require.NoError(t, os.WriteFile(work+"/sparse", nil, 0o644))
	require.NoError(t, os.Truncate(work+"/sparse", 1<<30))
	data, err := exec.Command("tar", "-C", work, "-Scf", "-", "sparse").Output()
	require.NoError(t, err)
	require.Less(t, len(data), 1<<20)
	err = newSandbox(t).extract(data, tarball.ExtractOptions{Limits: tarball.Limits{MaxBytes: 1<<30 - 1}})
	require.ErrorIs(t, err, tarball.ErrLimit)
}

func tarProgram(t testing.TB) {
	t.Helper()
	needs.Tool(t, "tar", "tar")
}

func TestExtract(t *testing.T) {
	s := newSandbox(t)
	err := s.extract(archive(t,
		dir("./", 0o500),
		dir("./shut/", 0o500),
		file("./shut/inner", "shut", 0o400),
		dir("./shut/more", 0o000),
		file("bare", "bare", 0o640),
		file("./run", "#!", 0o755),
		file("implied/by/file", "deep", 0o644),
		link(tar.TypeSymlink, "implied/up", "../bare"),
		link(tar.TypeSymlink, "implied/by/nowhere", "./missing/thing"),
		link(tar.TypeLink, "hard", "./bare"),
		dir("sticky", 0o1777|0o2000),
	), tarball.ExtractOptions{})
	require.NoError(t, err)
	s.checkConfined(t)

	for name, want := range map[string]string{"shut": "dr-x------", "shut/inner": "-r--------", "bare": "-rw-r-----",
		"run": "-rwxr-xr-x", "sticky": "drwxrwxrwx", "implied/up": "Lrwxrwxrwx"} {
		info, err := os.Lstat(s.path(name))
		require.NoError(t, err)
		assert.Equal(t, want, info.Mode().String(), name)
	}
	info, err := os.Stat(s.path(""))
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o755), info.Mode().Perm(), "the target directory keeps its mode")
	info, err = os.Stat(s.path("bare"))
	require.NoError(t, err)
	assert.True(t, info.ModTime().Equal(then))
	hard, err := os.Stat(s.path("hard"))
	require.NoError(t, err)
	assert.True(t, os.SameFile(info, hard))
	content, err := os.ReadFile(s.path("implied/up"))
	require.NoError(t, err)
	assert.Equal(t, "bare", string(content))
	require.NoError(t, os.Chmod(s.path("shut"), 0o700))
	more, err := os.Lstat(s.path("shut/more"))
	require.NoError(t, err)
	assert.Equal(t, "d---------", more.Mode().String())
}

func TestExtractReplacesWhatExists(t *testing.T) {
	s := newSandbox(t)
	require.NoError(t, os.WriteFile(s.path("old"), []byte("old"), 0o600))
	require.NoError(t, os.Link(s.path("old"), s.path("other-name")))
	require.NoError(t, os.Symlink("../outside", s.path("planted")))
	require.NoError(t, os.Symlink("../outside", s.path("planted-dir")))
	require.NoError(t, os.Mkdir(s.path("empty"), 0o755))
	require.NoError(t, os.Mkdir(s.path("kept"), 0o755))
	require.NoError(t, os.WriteFile(s.path("kept/mine"), nil, 0o600))
	err := s.extract(archive(t,
		file("old", "new", 0o644),
		file("planted", "new", 0o644),
		dir("planted-dir", 0o755),
		file("planted-dir/x", "new", 0o644),
		file("empty", "new", 0o644),
		dir("kept", 0o750),
	), tarball.ExtractOptions{})
	require.NoError(t, err)
	s.checkConfined(t)
	for name, want := range map[string]string{"old": "new", "other-name": "old", "planted": "new",
		"planted-dir/x": "new", "empty": "new", "kept/mine": ""} {
		content, err := os.ReadFile(s.path(name))
		require.NoError(t, err)
		assert.Equal(t, want, string(content), name)
	}
	for _, members := range [][]byte{
		archive(t, file("kept", "x", 0o644)),                                             // a directory that is not empty stays
		archive(t, file("own/x", "x", 0o644), link(tar.TypeSymlink, "own", "elsewhere")), // also that of the archive itself
		archive(t, file(strings.Repeat("n", 256), "x", 0o644)),                           // longer than a file system takes
	} {
		var refused *tarball.MemberError
		assert.ErrorAs(t, s.extract(members, tarball.ExtractOptions{}), &refused, "the archive is to blame")
	}
}

func TestExtractAbsoluteLinks(t *testing.T) {
	s := newSandbox(t)
	opts := tarball.ExtractOptions{AbsoluteLinks: true}
	require.NoError(t, s.extract(archive(t, link(tar.TypeSymlink, "l", s.outer+"/outside"),
		dir("a/b", 0o755), link(tar.TypeSymlink, "m", "a/../a/b")), opts))
	target, err := os.Readlink(s.path("l"))
	require.NoError(t, err)
	assert.Equal(t, s.outer+"/outside", target)
	require.ErrorIs(t, s.extract(archive(t, file("l/x", "x", 0o644)), opts), tarball.ErrLink)
	require.ErrorIs(t, s.extract(archive(t, link(tar.TypeSymlink, "r", "../outside")), opts), tarball.ErrLink)
	require.NoError(t, s.extract(archive(t, file("l", "replaced", 0o644)), opts))
	s.checkConfined(t)
}

func TestExtractIntoDirectory(t *testing.T) {
	s := newSandbox(t)
	owner := &tarball.Owner{UID: os.Getuid(), GID: os.Getgid()}
	if os.Getuid() == 0 {
		owner = &tarball.Owner{UID: 4242, GID: 4343}
	}
	data := archive(t, file("app/x", "x", 0o644), link(tar.TypeSymlink, "app/l", "x"), dir("tmp", 0o711))
	require.NoError(t, tarball.Extract(t.Context(), s.root, "/home/vcap", bytes.NewReader(data), tarball.ExtractOptions{Owner: owner}))
	for _, name := range []string{"home", "home/vcap", "home/vcap/app", "home/vcap/app/x", "home/vcap/app/l", "home/vcap/tmp"} {
		info, err := os.Lstat(s.path(name))
		require.NoError(t, err)
		st := info.Sys().(*syscall.Stat_t)
		assert.Equal(t, *owner, tarball.Owner{UID: int(st.Uid), GID: int(st.Gid)}, name)
	}
	require.NoError(t, os.Symlink("..", s.path("out")))
	require.Error(t, tarball.Extract(t.Context(), s.root, "out", bytes.NewReader(data), tarball.ExtractOptions{}))
	require.NoError(t, os.Remove(s.path("out")))
	s.checkConfined(t)
}

func TestExtractEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	data := archive(t, file("a", "x", 0o644), file("b", strings.Repeat("x", 1<<20), 0o644))
	r := &hookReader{r: bytes.NewReader(data), at: 600_000, hook: cancel}
	err := tarball.Extract(ctx, newSandbox(t).root, ".", r, tarball.ExtractOptions{})
	require.ErrorIs(t, err, context.Canceled)
}

type hookReader struct {
	r    io.Reader
	at   int
	hook func()
}

func (h *hookReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if h.at -= n; h.at < 0 {
		h.hook()
	}
	return n, err
}

func TestExtractReadsToTheEnd(t *testing.T) {
	data := append(archive(t, file("a", "x", 0o644)), make([]byte, 100_000)...)
	r := bytes.NewReader(data)
	require.NoError(t, tarball.Extract(t.Context(), newSandbox(t).root, ".", r, tarball.ExtractOptions{}))
	assert.Zero(t, r.Len())
	err := newSandbox(t).extract(data[:300], tarball.ExtractOptions{})
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// A process in the directory that swaps directories for links all the time must not lead an extraction out of it.
func TestExtractAgainstAProcessThatSwapsLinks(t *testing.T) {
	s := newSandbox(t)
	require.NoError(t, os.Mkdir(s.path("d"), 0o755))
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.Rename(s.path("d"), s.path("aside"))
				_ = os.Symlink("..", s.path("d"))
				_ = os.Remove(s.path("d"))
				_ = os.RemoveAll(s.path("d"))
				_ = os.Rename(s.path("aside"), s.path("d"))
			}
		}
	})
	data := archive(t, dir("d", 0o755), file("d/outside", "x", 0o644), dir("d/sub", 0o500), file("d/sub/new", "x", 0o644),
		link(tar.TypeLink, "e", "d/outside"), link(tar.TypeSymlink, "d/l", "../e"))
	for range 300 {
		_ = s.extract(data, tarball.ExtractOptions{}) // which may fail: something is always in the way
	}
	close(stop)
	swapper.Wait()
	_ = os.Remove(s.path("d/l"))
	entries, err := os.ReadDir(s.outer)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	s.checkConfined(t)
}
