package directory

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// layout makes files ("name": "content"), directories ("name/": "") and links ("name": "->target") below dir.
func layout(t testing.TB, dir string, entries map[string]string) {
	t.Helper()
	for name, content := range entries {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		switch {
		case name[len(name)-1] == '/':
			require.NoError(t, os.MkdirAll(path, 0o755))
		case len(content) > 2 && content[:2] == "->":
			require.NoError(t, os.Symlink(content[2:], path))
		default:
			require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
		}
	}
}

// read returns the content of a location, or "directory".
func read(l Location) (string, error) {
	f, err := l.Open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return "directory", err
	}
	content, err := io.ReadAll(f)
	return string(content), err
}

// readByWalk is read on a kernel without openat2.
func readByWalk(l Location) (string, error) {
	fd, _, err := l.openByWalk(l.relative())
	if err != nil {
		return "", classify(err)
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return "directory", err
	}
	content, err := io.ReadAll(f)
	return string(content), err
}

type place struct {
	path string
	want any // content, or an error
}

func checkPlaces(t *testing.T, tree Tree, places []place) {
	t.Helper()
	for _, read := range readers(tree) {
		for _, p := range places {
			got, err := read(Location{Tree: tree, Path: p.path})
			if want, ok := p.want.(error); ok {
				assert.ErrorIs(t, err, want, "%q", p.path)
			} else if assert.NoError(t, err, "%q", p.path) {
				assert.Equal(t, p.want, got, "%q", p.path)
			}
		}
	}
}

func readers(tree Tree) []func(Location) (string, error) {
	if tree.NoLinks {
		return []func(Location) (string, error){read}
	}
	return []func(Location) (string, error){read, readByWalk}
}

func TestTreeInside(t *testing.T) {
	dir := realTempDir(t)
	layout(t, dir, map[string]string{"root/app/a.rb": "a", "root/logs/stdout.log": "out", "root/l": "->logs",
		"root/up": "->../root/app", "root/abs": "->" + dir + "/root/app/a.rb", "root/self": "->" + dir + "/root",
		"root/app/back": "->../logs/stdout.log", "root/chain": "->l/stdout.log"})
	checkPlaces(t, Tree{Dir: filepath.Join(dir, "root")}, []place{
		{"", "directory"}, {"/", "directory"}, {".", "directory"}, {"//", "directory"}, {"app", "directory"},
		{"app/", "directory"}, {"/app//a.rb", "a"}, {"/app/./a.rb", "a"}, {"/logs/../app/a.rb", "a"},
		{"l/stdout.log", "out"}, {"l/../app/a.rb", "a"}, {"app/back", "out"}, {"chain", "out"}, {"abs", "a"},
		{"self/l/stdout.log", "out"}, {"app/..", "directory"},
	})
}

func TestTreeOutside(t *testing.T) {
	dir := realTempDir(t)
	layout(t, dir, map[string]string{"root/app/": "", "secret": "s", "rootless/secret": "s", "root/up": "->../secret",
		"root/abs": "->" + dir + "/secret", "root/etc": "->/etc", "root/sibling": "->../rootless",
		"root/abssibling": "->" + dir + "/rootless/secret", "root/deep": "->app/../../secret", "root/top": "->/",
		"root/dotdot": "->" + dir + "/root/../secret"})
	no := ErrNotAccessible
	checkPlaces(t, Tree{Dir: filepath.Join(dir, "root")}, []place{
		{"..", no}, {"/..", no}, {"../secret", no}, {"/../rootless/secret", no}, {"app/../../secret", no}, {"up", no},
		{"abs", no}, {"etc", no}, {"etc/passwd", no}, {"sibling/secret", no}, {"abssibling", no}, {"deep", no},
		{"top", no}, {"dotdot", no}, {"../../../../../../../../etc/passwd", no},
	})
}

func TestTreeMissing(t *testing.T) {
	dir := realTempDir(t)
	layout(t, dir, map[string]string{"root/file": "f", "root/dangling": "->nothing", "root/loop": "->loop",
		"root/absloop": "->" + dir + "/root/absloop", "root/absfile": "->" + dir + "/root/file"})
	tree := Tree{Dir: filepath.Join(dir, "root")}
	none := fs.ErrNotExist
	checkPlaces(t, tree, []place{
		{"nothing", none}, {"file/x", none}, {"file/", none}, {"dangling", none}, {"loop", none}, {"absloop", none},
		{"absfile/x", none}, {"nul\x00byte", none}, {strings.Repeat("n", 300), none},
	})
	tree.Dir = filepath.Join(dir, "gone")
	checkPlaces(t, tree, []place{{"", none}, {"file", none}})
}

// A base directory that is reached through a link is the same directory.
func TestTreeThroughLinkedBase(t *testing.T) {
	dir := realTempDir(t)
	layout(t, dir, map[string]string{"data/root/a": "a", "data/root/abs": "->" + dir + "/data/root/a",
		"data/root/linked": "->" + dir + "/base/root/a", "base": "->data"})
	tree := Tree{Dir: filepath.Join(dir, "base/root")}
	checkPlaces(t, tree, []place{{"a", "a"}, {"abs", "a"}, {"linked", "a"}})
	path, err := Location{Tree: tree, Path: "abs"}.Real()
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "data/root/a"), path)
}

func TestTreeInContainer(t *testing.T) {
	rootfs := filepath.Join(realTempDir(t), "rootfs")
	layout(t, rootfs, map[string]string{"home/vcap/logs/a": "a", "home/vcap/in": "->/home/vcap/logs/a",
		"home/vcap/out": "->/etc/hostname", "etc/hostname": "c", "home/vcap/round": "->../../home/vcap/logs",
		"home/vcap/app": "->/app", "app/main": "m", "home/vcap/nothing": "->/no/such", "tmp/staged/log": "l",
		"tmp/s": "->/tmp/staged", "tmp/high": "->/../../../tmp/staged/log"})
	no := ErrNotAccessible
	home := Tree{Dir: filepath.Join(rootfs, "home/vcap"), ContainerRoot: rootfs}
	checkPlaces(t, home, []place{
		{"logs/a", "a"}, {"in", "a"}, {"round/a", "a"}, {"out", no}, {"app/main", no}, {"/..", no}, {"../../etc/hostname", no},
		{"../vcap/logs/a", "a"}, {"nothing", fs.ErrNotExist},
	})
	whole := Tree{Dir: rootfs, ContainerRoot: rootfs}
	checkPlaces(t, whole, []place{
		{"/home/vcap/app/main", "m"}, {"/home/vcap/out", "c"}, {"/tmp/s/log", "l"}, {"/tmp//staged/./log", "l"},
		{"/tmp/high", "l"}, {"/../tmp/staged/../staged/log", "l"}, {"/tmp/staged/", "directory"},
	})
	_, err := read(Location{Tree: Tree{Dir: "/elsewhere", ContainerRoot: rootfs}})
	assert.ErrorContains(t, err, "not below container root")
}

// The home directory itself may be a link by which an app points out of its container.
func TestTreeHomeLeavesContainer(t *testing.T) {
	dir := realTempDir(t)
	layout(t, dir, map[string]string{"secret": "s", "rootfs/home": "->" + dir, "rootfs/up": "->.."})
	for _, home := range []string{"rootfs/home", "rootfs/up"} {
		checkPlaces(t, Tree{Dir: filepath.Join(dir, home), ContainerRoot: filepath.Join(dir, "rootfs")},
			[]place{{"secret", ErrNotAccessible}})
	}
}

func TestTreeWithoutLinks(t *testing.T) {
	dir := realTempDir(t)
	layout(t, dir, map[string]string{"a/b/c": "c", "link": "->a", "a/l": "->b/c"})
	no := ErrNotAccessible
	checkPlaces(t, Tree{Dir: dir, NoLinks: true}, []place{
		{"a/b/c", "c"}, {"/a/b/c", "c"}, {".", "directory"}, {"a", "directory"}, {"a/l", no}, {"a/../a", no},
		{"a/nothing", fs.ErrNotExist}, {"a/b/c/d", fs.ErrNotExist},
	})
	_, err := read(Location{Tree: Tree{Dir: dir, NoLinks: true}, Path: "link/b/c"})
	assert.Error(t, err, "a link in the middle")
}

func TestTreeSpecialFiles(t *testing.T) {
	dir := realTempDir(t)
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(dir, "socket")}))
	for _, path := range []string{filepath.Join(dir, "fifo"), filepath.Join(dir, "socket"), "/dev/null"} {
		_, err := Location{Tree: Tree{Dir: filepath.Dir(path)}, Path: filepath.Base(path)}.Open()
		assert.ErrorIs(t, err, ErrNotAccessible, path)
	}
}

// An app has a lease of its file, which it is asked to give back and keeps: nobody waits for it, and an archive goes on without.
func TestTreeLease(t *testing.T) {
	f := newFixture(t, Config{})
	path := f.write("d/leased", "content")
	f.write("d/other", "x")
	holder, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer holder.Close()
	_, err = unix.FcntlInt(holder.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	require.NoError(t, err)
	for _, tree := range []Tree{{Dir: f.root}, {Dir: f.root, NoLinks: true}} {
		for _, read := range readers(tree) {
			_, err := read(Location{Tree: tree, Path: "d/leased"})
			assert.ErrorIs(t, err, ErrNotAccessible)
		}
	}
	resp, _ := f.get("d/leased")
	assert.Equal(t, 403, resp.StatusCode)
	_, body := f.do("GET", f.signed("d", "&archive=zip"))
	assert.Equal(t, map[string]string{"other": "x"}, unzip(t, body))
}

// Someone swaps a directory and a file for links to the outside all the time; what is opened stays inside.
func TestTreeSwap(t *testing.T) {
	dir := realTempDir(t)
	layout(t, dir, map[string]string{"outside/file": "secret", "root/real/file": "public", "root/evil": "->../outside",
		"root/realabs/file": "public", "root/evilabs": "->" + dir + "/outside", "spare": "->outside"})
	root := filepath.Join(dir, "root")
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, pair := range [][2]string{{"real", "evil"}, {"realabs", "evilabs"}} {
				_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, pair[0]), unix.AT_FDCWD, filepath.Join(root, pair[1]),
					unix.RENAME_EXCHANGE)
			}
		}
	})
	served := map[string]int{}
	for range 1000 {
		for _, tree := range []Tree{{Dir: root}, {Dir: root, ContainerRoot: dir}, {Dir: dir, NoLinks: true}} {
			for _, path := range []string{"real/file", "evil/file", "realabs/file", "evilabs/file"} {
				if tree.NoLinks {
					path = "root/" + path
				}
				for _, read := range readers(tree) {
					content, err := read(Location{Tree: tree, Path: path})
					if err != nil {
						content = "refused"
					}
					served[content]++
				}
			}
		}
	}
	close(stop)
	swapper.Wait()
	assert.Zero(t, served["secret"])
	assert.NotZero(t, served["public"], "the swap must not win always: %v", served)
	assert.NotZero(t, served["refused"], "the swap must win sometimes: %v", served)
}

// FuzzTree opens paths in a tree full of links and finds nothing but what is inside.
func FuzzTree(f *testing.F) {
	for _, path := range []string{"a", "../secret", "l/../../secret", "abs/x", "up/up/secret", "//./a/..", "h/x"} {
		f.Add(path)
	}
	dir := realTempDir(f)
	layout(f, dir, map[string]string{"secret": "secret", "root/a": "inside", "root/d/x": "inside", "root/l": "->d",
		"root/up": "->..", "root/abs": "->" + dir, "root/h": "->" + dir + "/root/d", "root/top": "->/"})
	f.Fuzz(func(t *testing.T, path string) {
		root := filepath.Join(dir, "root")
		for _, tree := range []Tree{{Dir: root}, {Dir: root, ContainerRoot: dir}, {Dir: root, NoLinks: true}} {
			for _, read := range readers(tree) {
				content, err := read(Location{Tree: tree, Path: path})
				if err == nil && content != "inside" && content != "directory" {
					t.Errorf("%q: read %q", path, content)
				}
			}
		}
	})
}

// What an app lays out to keep a server busy ends soon: deep directories, and links that lead up and down and up.
func TestTreeBounds(t *testing.T) {
	dir := realTempDir(t)
	root := filepath.Join(dir, "root")
	layout(t, root, map[string]string{"d/file": "f", "abs": "->" + root + "/d/file", "up": "->" + strings.Repeat("d/../", 800) + "abs",
		"more": "->" + strings.Repeat("d/../", 800) + "up", "most": "->" + strings.Repeat("d/../", 800) + "more"})
	deep := strings.Repeat("d/", maxHeld-2)
	require.NoError(t, os.MkdirAll(filepath.Join(root, deep, "d/d"), 0o755))
	require.NoError(t, os.Symlink(root+"/d/file", filepath.Join(root, deep, "abs")))
	require.NoError(t, os.Symlink(root+"/d/file", filepath.Join(root, deep, "d/d/abs")))
	before := openFiles(t)
	for _, tree := range []Tree{{Dir: root}, {Dir: root, ContainerRoot: dir}} {
		want := map[string]any{"up": "f", "more": "f", "most": fs.ErrNotExist, deep + "abs": "f", deep + "d/d/abs": fs.ErrNotExist}
		if tree.ContainerRoot != "" {
			want = map[string]any{"most": fs.ErrNotExist, deep + "d/d/abs": fs.ErrNotExist, strings.Repeat("../root/", 500) + "d/file": "f"}
		}
		for path, want := range want {
			checkPlaces(t, tree, []place{{path, want}})
		}
	}
	assert.Equal(t, before, openFiles(t))
}
