package directory

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
)

// A tree of user 4711 below a directory that only root may enter.
func ownedTree(t *testing.T) (dir string) {
	t.Helper()
	needs.Root(t)
	dir = filepath.Join(realTempDir(t), "depot/root")
	layout(t, dir, map[string]string{"own": "own", "roots": "roots", "groups": "groups", "sub/own": "own", "closed/own": "own",
		"abs": "->" + dir + "/own", "absroots": "->" + dir + "/roots", "all": "all", "inner": "->/own"})
	for _, name := range []string{"", "own", "sub", "sub/own", "closed", "closed/own"} {
		require.NoError(t, os.Chown(filepath.Join(dir, name), 4711, 4712))
	}
	require.NoError(t, os.Chown(filepath.Join(dir, "groups"), 0, 4713))
	for name, mode := range map[string]os.FileMode{"../": 0o700, "": 0o700, "own": 0o400, "sub/own": 0o400, "roots": 0o600,
		"groups": 0o640, "closed": 0o000, "closed/own": 0o400} {
		require.NoError(t, os.Chmod(filepath.Join(dir, name), mode))
	}
	// The process has a group that may read a file.
	groups, err := syscall.Getgroups()
	require.NoError(t, err)
	require.NoError(t, syscall.Setgroups(append(groups, 4713)))
	t.Cleanup(func() { assert.NoError(t, syscall.Setgroups(groups)) })
	return dir
}

// checkThreads expects that all threads have the rights of the process.
func checkThreads(t *testing.T) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	require.NoError(t, err)
	for _, path := range tasks {
		status, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that has ended
		}
		for line := range strings.Lines(string(status)) {
			switch fields := strings.Fields(line); fields[0] {
			case "Uid:", "Gid:":
				assert.Equal(t, []string{"0", "0", "0", "0"}, fields[1:], path)
			case "Groups:":
				assert.Contains(t, fields, "4713", path)
			}
		}
	}
}

func TestAsOwner(t *testing.T) {
	dir := ownedTree(t)
	no := ErrNotAccessible
	for _, tree := range []Tree{{Dir: dir, AsOwner: true}, {Dir: dir, ContainerRoot: filepath.Dir(filepath.Dir(dir)), AsOwner: true},
		{Dir: dir, NoLinks: true, AsOwner: true}} {
		places := []place{{"own", "own"}, {"sub/own", "own"}, {"all", "all"}, {"", "directory"}, {"roots", no}, {"groups", no},
			{"closed", no}, {"closed/own", no}}
		if !tree.NoLinks && tree.ContainerRoot == "" {
			places = append(places, place{"abs", "own"}, place{"absroots", no})
		}
		checkPlaces(t, tree, places)
	}
	checkPlaces(t, Tree{Dir: dir, ContainerRoot: dir, AsOwner: true}, []place{{"inner", "own"}})
	checkPlaces(t, Tree{Dir: dir}, []place{{"roots", "roots"}, {"groups", "groups"}, {"closed/own", "own"}})
	checkThreads(t)

	// Of root's own directory all is shown, as before.
	rooted := realTempDir(t)
	layout(t, rooted, map[string]string{"f": "f"})
	require.NoError(t, os.Chmod(filepath.Join(rooted, "f"), 0))
	checkPlaces(t, Tree{Dir: rooted, AsOwner: true}, []place{{"f", "f"}})
}

func TestAsOwnerServing(t *testing.T) {
	dir := ownedTree(t)
	f := newFixture(t, Config{})
	f.registry.instances["app"] = Tree{Dir: dir, AsOwner: true}
	for path, want := range map[string]int{"/own": 200, "/roots": 403, "/groups": 403, "/": 200, "/closed": 403, "/closed/own": 403} {
		resp, _ := f.get(path)
		assert.Equal(t, want, resp.StatusCode, path)
	}
	_, body := f.get("/")
	assert.Contains(t, body, "roots                                       5B\n", "names and sizes are the directory's to tell")
	_, body = f.do("GET", f.signed("/", "&archive=tgz"))
	files, err := untar(t, body)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"own": "own", "sub/": "", "sub/own": "own", "all": "all"}, files)

	// A tail does not come by more when the file is replaced.
	c := f.tail(t, "/all", "&tail_offset=0&tail_follow")
	c.expect("all")
	require.NoError(t, os.Rename(filepath.Join(dir, "roots"), filepath.Join(dir, "all")))
	require.NoError(t, os.Remove(filepath.Join(dir, "all")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "all"), []byte("again"), 0o644))
	c.expect("again")
	checkThreads(t)
}

// Sharing a listing does not lend rights.
func TestAsOwnerSharesNoRights(t *testing.T) {
	dir := ownedTree(t)
	h, err := Location{Tree: Tree{Dir: dir, AsOwner: true}}.open()
	require.NoError(t, err)
	defer h.close()
	plain, err := Location{Tree: Tree{Dir: dir}}.open()
	require.NoError(t, err)
	defer plain.close()
	assert.NotEqual(t, h.owner, plain.owner)
}

// What the kernel does to one thread is seen by nobody else, and is undone also when the work fails.
func TestCredentials(t *testing.T) {
	ownedTree(t)
	c := credentialsOf(4711, 4712)
	assert.ErrorIs(t, c.do(func() error {
		file, err := os.Open("/proc/thread-self/status")
		if err != nil {
			return err
		}
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			switch fields := strings.Fields(lines.Text()); fields[0] {
			case "Uid:":
				assert.Equal(t, []string{"0", "0", "0", "4711"}, fields[1:])
			case "Gid:":
				assert.Equal(t, []string{"0", "0", "0", "4712"}, fields[1:])
			case "Groups:":
				assert.Len(t, fields, 1)
			case "CapEff:": // CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH are bits 1 and 2
				assert.Contains(t, "0189", fields[1][len(fields[1])-1:])
			}
		}
		return io.ErrNoProgress
	}), io.ErrNoProgress)
	assert.Panics(t, func() { _ = c.do(func() error { panic("x") }) })
	checkThreads(t)
}

// A front server knows the owner by the way to the file: root's directories and those of its own account are passed with the
// rights of the process.
func TestAsOwnerOnTheWay(t *testing.T) {
	dir := ownedTree(t)
	top := filepath.Dir(filepath.Dir(dir))
	no := ErrNotAccessible
	for range 2 { // root's directory, and that of another account
		checkPlaces(t, Tree{Dir: top, NoLinks: true, AsOwner: true}, []place{
			{"depot/root/own", "own"}, {"depot/root/sub/own", "own"}, {"depot/root", "directory"}, {"depot", "directory"}, {"", "directory"},
			{"depot/root/roots", no}, {"depot/root/groups", no}, {"depot/root/closed", no}, {"depot/root/closed/own", no},
			{"depot/root/no", os.ErrNotExist}, {"depot/no/own", os.ErrNotExist}, {"depot/root/abs", no}, {"depot/root/own/x", os.ErrNotExist},
		})
		require.NoError(t, os.Chown(top, 4800, 4800))
		require.NoError(t, os.Chmod(filepath.Join(top, "depot"), 0o755))
	}
	checkThreads(t)

	// What has no owner but root is root's.
	rooted := realTempDir(t)
	layout(t, rooted, map[string]string{"a/f": "f", "secret": "s"})
	require.NoError(t, os.Chmod(filepath.Join(rooted, "a/f"), 0))
	checkPlaces(t, Tree{Dir: rooted, NoLinks: true, AsOwner: true}, []place{{"a/f", "f"}, {"secret", "s"}})
}

func TestRemoteAsOwner(t *testing.T) {
	dir := ownedTree(t)
	lookup := &registry{instances: map[string]Tree{"app": {Dir: dir}}} // the DEA itself looks with all rights
	s := signerAt(t, signedAt, testKey)
	api, _ := serve(t, FileAPI(NewLocal(s, lookup), nil))
	for asOwner, want := range map[bool]int{false: 200, true: 403} {
		base, client := front(t, RemoteConfig{URL: api, AsOwner: asOwner})
		for _, path := range []string{"roots", "groups", "closed/own"} {
			resp, _ := do(t, client, "GET", s.InstanceURL(base, "app", &path))
			assert.Equal(t, want, resp.StatusCode, path)
		}
		for _, path := range []string{"own", "sub/own", "sub", ""} {
			resp, _ := do(t, client, "GET", s.InstanceURL(base, "app", &path))
			assert.Equal(t, 200, resp.StatusCode, path)
		}
		_, body := do(t, client, "GET", s.InstanceURL(base, "app", text(""))+"&archive=tgz")
		files, err := untar(t, body)
		require.NoError(t, err)
		assert.Equal(t, "own", files["own"])
		_, got := files["roots"]
		assert.Equal(t, !asOwner, got, "what he may not read is not in the archive")
	}
	checkThreads(t)
}
