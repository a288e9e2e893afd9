package userns_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container/runc/userns"
	"github.com/deakit/deakit/internal/needs"
)

// ordinaryEnv makes this test binary a program of an ordinary user, and says what it does.
const ordinaryEnv = "USERNS_TEST_ORDINARY"

func TestMain(m *testing.M) {
	if what := os.Getenv(ordinaryEnv); what != "" {
		if err := ordinary(context.Background(), what); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func ordinary(ctx context.Context, what string) error {
	if what == "hurried" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
	}
	if what == "enter" {
		if os.Geteuid() == 0 {
			dir, err := os.Getwd()
			fmt.Println("in", dir, os.Args[1:])
			return err
		}
		ns, err := userns.New(ctx)
		if err != nil {
			return err
		}
		return ns.Enter(os.Args, os.Environ())
	}
	ns, err := userns.New(ctx)
	if err != nil {
		return err
	}
	fmt.Println("missing:", ns.Missing())
	out, err := ns.Command(ctx, "sh", "-c", "id -u; wc -l </proc/self/uid_map").CombinedOutput()
	fmt.Print(string(out))
	if err != nil {
		return err
	}
	return ns.End(ctx)
}

// asNobody runs this test binary as the user nobody, who has ids to give, in a directory, with programs of dir/bin before
// all others.
func asNobody(t *testing.T, dir, what string, args ...string) (string, error) {
	t.Helper()
	needs.Root(t)
	for program, pkg := range map[string]string{"newuidmap": "uidmap", "nsenter": "util-linux", "setpriv": "util-linux"} {
		needs.Tool(t, program, pkg)
	}
	place, err := os.MkdirTemp("", "userns-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(place)) })
	require.NoError(t, os.Chmod(place, 0o755))
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	binary, ids := filepath.Join(place, "test"), filepath.Join(place, "subids")
	require.NoError(t, os.WriteFile(binary, self, 0o755))
	require.NoError(t, os.WriteFile(ids, []byte("nobody:300000:65536\n"), 0o644))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", append([]string{
		"--mount", "sh", "-c", `mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid &&
			exec setpriv --reuid nobody --regid nogroup --clear-groups "$@"`, ids, binary,
	}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), ordinaryEnv+"="+what, "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// programs returns a directory with a program in its bin.
func programs(t *testing.T, name, script string) string {
	t.Helper()
	dir := t.TempDir()
	for at := dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
		require.NoError(t, os.Chmod(at, 0o755))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin", name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	return dir
}

// Where the programs that give ids fail, as under no_new_privs, there is one id, and the reason is told.
func TestFailingMaps(t *testing.T) {
	out, err := asNobody(t, programs(t, "none", ""), "look")
	require.NoError(t, err, out)
	assert.Equal(t, "missing: <nil>\n0\n2\n", out)
	for _, program := range []string{"newuidmap", "newgidmap"} {
		out, err := asNobody(t, programs(t, program, "echo it is forbidden; exit 1"), "look")
		require.NoError(t, err, out)
		assert.Equal(t, "missing: "+program+": exit status 1: it is forbidden\n0\n1\n", out)
	}
}

// Programs that take too long are not waited for.
func TestSlowMaps(t *testing.T) {
	out, err := asNobody(t, programs(t, "newuidmap", "sleep 50"), "hurried")
	require.Error(t, err)
	assert.Contains(t, out, context.DeadlineExceeded.Error())
}

// Whoever starts a program in a directory of somebody else gets it running, as without a namespace.
func TestEnterFromAnywhere(t *testing.T) {
	dir := programs(t, "none", "")
	out, err := asNobody(t, dir, "enter", "one", "a b", "--", "$HOME")
	require.NoError(t, err, out)
	assert.Equal(t, "in "+dir+" [one a b -- $HOME]\n", out)
	require.NoError(t, os.Chmod(dir, 0o700))
	out, err = asNobody(t, dir, "enter", "one")
	require.NoError(t, err, out)
	assert.Equal(t, "in / [one]\n", out)
}

// TestEnterFails leaves nothing of a namespace that cannot be entered.
func TestEnterFails(t *testing.T) {
	namespaces(t)
	path := os.Getenv("PATH")
	ns, err := userns.New(t.Context())
	require.NoError(t, err)
	t.Setenv("PATH", t.TempDir())
	assert.ErrorContains(t, ns.Enter(os.Args, os.Environ()), "install util-linux")
	_, err = userns.New(t.Context())
	assert.ErrorContains(t, err, "install util-linux")
	t.Setenv("PATH", path)
	out, err := ns.Command(t.Context(), "true").CombinedOutput()
	require.Error(t, err, "its holder has ended")
	assert.Contains(t, string(out), "No such file or directory")
}

// TestFilesOfOthers neither believes a file that another user can write nor ends the process that it names.
func TestFilesOfOthers(t *testing.T) {
	namespaces(t)
	needs.Root(t)
	for name, spoil := range map[string]func(file string) error{
		"of another user":       func(file string) error { return os.Chown(file, 4321, -1) },
		"writable for all":      func(file string) error { return os.Chmod(file, 0o666) },
		"a link to one":         func(file string) error { return relink(file) },
		"no file but something": func(file string) error { return remake(file) },
	} {
		file := filepath.Join(t.TempDir(), "namespace")
		ns, err := userns.Open(t.Context(), file)
		require.NoError(t, err)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, spoil(file))
		_, err = userns.Open(t.Context(), file)
		require.Error(t, err, name)
		require.Error(t, userns.End(t.Context(), file), name)
		require.NoError(t, ns.Command(t.Context(), "true").Run(), "%s: it lives on", name)
		require.NoError(t, os.RemoveAll(file))
		require.NoError(t, os.WriteFile(file, text, 0o600))
		require.NoError(t, ns.End(t.Context()))
	}
}

func relink(file string) error {
	if err := os.Rename(file, file+".real"); err != nil {
		return err
	}
	return os.Symlink(file+".real", file)
}

func remake(file string) error {
	if err := os.Remove(file); err != nil {
		return err
	}
	return exec.Command("mkfifo", file).Run()
}

// TestOpenWhileOthersEnd has some open what others end: no namespace is left that no file tells of.
func TestOpenWhileOthersEnd(t *testing.T) {
	namespaces(t)
	file := filepath.Join(t.TempDir(), "namespace")
	done := make(chan error)
	for range 4 {
		go func() {
			for range 10 {
				ns, err := userns.Open(context.Background(), file)
				if err == nil {
					err = ns.End(context.Background())
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		assert.NoError(t, <-done)
	}
	assert.NoFileExists(t, file)
	pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
	assert.ErrorIs(t, err, unix.ECHILD, "no holder is left, nor %d", pid)
}
