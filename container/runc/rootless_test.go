package runc_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc"
	"github.com/deakit/deakit/container/runc/userns"
	"github.com/deakit/deakit/internal/needs"
)

// Set in processes that have no root: this test binary, as an ordinary user in a user namespace.
const (
	rootlessEnv  = "RUNC_TEST_ROOTLESS"  // what to do there
	namespaceEnv = "RUNC_TEST_NAMESPACE" // the file of the namespace; empty: one of its own
	accountEnv   = "RUNC_TEST_ACCOUNT"   // the home of the account
)

func withoutRoot() bool { return os.Getenv(rootlessEnv) != "" }

// enterNamespace goes on in a user namespace, where there is no root.
func enterNamespace() {
	if !withoutRoot() || os.Geteuid() == 0 {
		return
	}
	open := func() (*userns.Namespace, error) { return userns.New(context.Background()) }
	if file := os.Getenv(namespaceEnv); file != "" {
		open = func() (*userns.Namespace, error) { return userns.Open(context.Background(), file) }
	}
	ns, err := open()
	if err == nil {
		err = ns.Enter(os.Args, os.Environ())
	}
	fmt.Println("no user namespace:", err)
	os.Exit(1)
}

// An ordinaryUser runs this test as the user nobody.
type ordinaryUser struct {
	dir  string // its own, where containers do not see it
	home string // its home, where containers would see it
	ids  string // in place of /etc/subuid and /etc/subgid

	account string // the home that its account has, likewise
	passwd  string // in place of /etc/passwd, which tells it
}

const nobody = 65534

func newOrdinaryUser(t testing.TB, subIDs string) *ordinaryUser {
	t.Helper()
	requirements(t)
	for program, pkg := range map[string]string{"newuidmap": "uidmap", "nsenter": "util-linux", "setpriv": "util-linux"} {
		needs.Tool(t, program, pkg)
	}
	u := &ordinaryUser{}
	for at, parent := range map[*string]string{&u.dir: "", &u.home: "/opt", &u.account: "/opt"} {
		dir, err := os.MkdirTemp(parent, "rootless-") // short enough for sockets
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
		require.NoError(t, os.Chown(dir, nobody, nobody))
		require.NoError(t, os.Chmod(dir, 0o755))
		*at = dir
	}
	self, err := os.Executable()
	require.NoError(t, err)
	copyFile(t, filepath.Join(u.dir, "test"), self)
	u.ids = filepath.Join(u.dir, "subids")
	require.NoError(t, os.WriteFile(u.ids, []byte(subIDs), 0o644))
	u.passwd = filepath.Join(u.dir, "passwd")
	require.NoError(t, os.WriteFile(u.passwd, []byte("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::"+u.account+":/bin/sh\n"), 0o644))
	return u
}

// command runs tests as the user. The machine's files stay as they are: if need be, others are seen in their place.
func (u *ordinaryUser) command(what, tests string, flags ...string) *exec.Cmd {
	cmd := exec.Command("unshare", append([]string{
		"--mount", "sh", "-c", letGoOfMounts + `if [ -s "$0" ] || grep -q ^nobody: /etc/subuid; then
			mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && mount --bind "$1" /etc/passwd
		fi && shift && exec setpriv --reuid nobody --regid nogroup --clear-groups "$@"`,
		u.ids, u.passwd, filepath.Join(u.dir, "test"), "-test.run=" + tests, "-test.v",
	}, flags...)...)
	cmd.Dir = u.dir
	cmd.Env = append(os.Environ(), rootlessEnv+"="+what, "TMPDIR="+u.dir, "HOME="+u.home, accountEnv+"="+u.account)
	return cmd
}

// letGoOfMounts lets a mount namespace not keep what other tests unmount.
const letGoOfMounts = "awk '$5 ~ \"^/tmp/\" { print $5 }' /proc/self/mountinfo | sort --reverse | xargs --no-run-if-empty umount --lazy; "

// inside runs the test that calls it as an ordinary user with the given ids, and what it does there: of the suite, the
// given groups.
func inside(t *testing.T, subIDs, groups string, body func(*testing.T)) {
	if withoutRoot() {
		body(t)
		return
	}
	t.Parallel()
	out, err := newOrdinaryUser(t, subIDs).command("yes", "^"+t.Name()+"$/./"+groups).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "--- PASS: "+t.Name())
}

const someIDs = "someone:100000:65536\nnobody:300000:65536\n"

// TestWithoutRoot has an ordinary user who may give ids to a namespace. Of the suite it passes what depends on users: the
// rest TestWithOneID does.
func TestWithoutRoot(t *testing.T) {
	inside(t, someIDs, "^(Run|Files|Hostile|Limits)$", func(t *testing.T) {
		t.Run("Conformance", conformance)
		t.Run("Isolation", func(t *testing.T) { isolationWithoutRoot(t) })
		t.Run("AbstractSockets", TestAbstractSockets)
		t.Run("Identity", func(t *testing.T) {
			b := open(t, runc.Options{})
			c, other := create(t, b, container.Spec{}), create(t, b, container.Spec{})
			assert.Equal(t, "x\n", output(t, c, shell("echo x >/dev/stdout")), "it may open its output by a name")
			assert.Equal(t, "vcap vcap 1\n", output(t, c, shell("echo $(id -un) $(id -gn) $(id -G | wc -w)")))
			assert.NotEqual(t, output(t, c, shell("id -u")), output(t, other, shell("id -u")), "no two containers share a user")
			assert.Equal(t, "0\n", output(t, c, asRoot(shell("id -u"))))
			assert.True(t, b.Capabilities().Users)
			_, err := runc.New(runc.Options{Depot: depotDir(t), UIDs: 400_000})
			assert.ErrorIs(t, err, container.ErrInvalid, "ids that there are not")
		})
		t.Run("ProcessLimit", func(t *testing.T) {
			c := create(t, open(t, runc.Options{}), container.Spec{Limits: container.Limits{PIDs: 30}})
			out, status := run(t, c, shell("i=0; while [ $i -lt 100 ]; do sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done"))
			assert.Contains(t, out, "Cannot fork", "status %d", status)
		})
		t.Run("Disk", func(t *testing.T) {
			b := open(t, runc.Options{Disk: runc.DiskMemory})
			assert.Equal(t, container.ByKernel, b.Capabilities().Disk)
			c := create(t, b, container.Spec{Limits: container.Limits{DiskBytes: 8 << 20}})
			_, status := run(t, c, shell("head -c 10000000 /dev/zero >big"))
			assert.NotZero(t, status)
			require.NoError(t, c.SetLimits(t.Context(), container.Limits{DiskBytes: 32 << 20}))
			output(t, c, shell("head -c 10000000 /dev/zero >big"))
		})
		t.Run("RootFS", TestRootFS)
	})
}

// TestWithOneID has an ordinary user who has none but his own.
func TestWithOneID(t *testing.T) {
	inside(t, "", "", func(t *testing.T) {
		t.Run("Conformance", conformance)
		t.Run("Isolation", func(t *testing.T) { isolationWithoutRoot(t) })
		t.Run("AbstractSockets", TestAbstractSockets)
		t.Run("Identity", func(t *testing.T) {
			b := open(t, runc.Options{})
			c := create(t, b, container.Spec{})
			assert.Equal(t, "x\n", output(t, c, shell("echo x >/dev/stdout")), "it may open its output by a name")
			const want = "10000 vcap vcap 0000000000000000\n"
			what := shell("echo $(id -u) $(id -un) $(stat -c %U /home/vcap) $(sed -n 's/^CapBnd:.//p' /proc/self/status)")
			assert.Equal(t, want, output(t, c, what))
			assert.Equal(t, want, output(t, c, asRoot(what)), "there is no other")
			assert.False(t, b.Capabilities().Users)
			output(t, c, shell("mkdir d; echo x >d/f; tar -cf t --owner=1234 --group=1234 d; rm -r d; tar -xpf t; cat d/f"))
		})
		t.Run("RootFS", TestRootFS)
	})
}

// isolationWithoutRoot lets processes try to get at what is the caller's.
func isolationWithoutRoot(t *testing.T) {
	home := os.Getenv("HOME")
	account := os.Getenv(accountEnv)
	if me, err := user.LookupId(strconv.Itoa(nobody)); err != nil || me.HomeDir != account {
		account = home // it is not told of
	}
	for _, dir := range []string{home, account} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("the secret"), 0o666))
	}
	depot := depotDir(t)
	b := open(t, runc.Options{Depot: depot})
	caps := b.Capabilities()
	assert.Equal(t, []bool{true, true, true, true, false, false, false},
		[]bool{caps.RootFS, caps.Processes, caps.ReadOnlyMounts, caps.Survives, caps.Network, caps.PortMapping, caps.EgressRules})
	assert.Equal(t, container.Watched, caps.Memory)
	assert.Empty(t, caps.CPU+caps.PIDs+caps.Disk+caps.Bandwidth)

	neighbour := create(t, b, container.Spec{Handle: "neighbour", Env: []string{"SECRET=the secret"}})
	output(t, neighbour, shell("echo the secret >secret; chmod 600 secret"))
	_, err := neighbour.Run(t.Context(), container.ProcessSpec{Path: "sleep", Args: []string{"1000"}}, container.IO{})
	require.NoError(t, err)
	c := create(t, b, container.Spec{Handle: "attacker"})
	for name, script := range map[string]string{
		"the caller's home":           "cat " + home + "/secret",
		"the home of his account":     "cat " + account + "/secret",
		"by the root of process 1":    "cat /proc/1/root" + home + "/secret",
		"by descriptors of process 1": "cat /proc/1/fd/4 && echo the secret",
		"a process of the host":       fmt.Sprintf("ls -d /proc/%d/cwd && echo the secret", os.Getpid()),
		"the neighbour's processes":   "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep SECRET",
		"a signal to a host process":  fmt.Sprintf("kill -0 %d && echo the secret", os.Getpid()),
		"the depot":                   "cat " + filepath.Join(depot, "neighbour/container.json"),
		"the neighbour's files":       "cat " + filepath.Join(depot, "neighbour/disk/upper/home/vcap/secret"),
		"a mount":                     "mount -t tmpfs none /mnt && echo the secret",
		"an unmount":                  "umount /sys/fs/cgroup && echo the secret",
		"its root again, writable":    "mount -o remount,rw /sys && echo the secret",
		"a namespace of its own":      "unshare --user --map-root-user true && echo the secret",
		"one that is 32 bit old":      "setarch i386 unshare --user true && echo the secret",
		"namespaces of process 1":     "nsenter --target 1 --mount true && echo the secret",
		"kernel settings":             "echo 1 >/proc/sys/kernel/sysrq && echo the secret",
		"a device":                    "mknod /tmp/d b 254 0 && echo the secret",
		"more ids":                    "newuidmap $$ 0 0 1 && echo the secret",
		"more privileges":             "grep -E '^Cap(Prm|Eff|Bnd|Inh|Amb):.*[1-9a-f]' /proc/self/status && echo the secret",
		"no filter":                   "grep -E '^(NoNewPrivs|Seccomp):.0' /proc/self/status && echo the secret",
	} {
		out, status := run(t, c, shell(script))
		assert.NotContains(t, strings.ReplaceAll(out, "echo the secret", ""), "the secret", "%s: status %d", name, status)
	}
	for _, write := range []string{"rm -rf " + home, "echo spoilt >/proc/1/root" + home + "/secret", "rm -rf /bin /usr/bin /etc /home " + depot} {
		run(t, c, asRoot(shell(write)))
	}
	content, err := os.ReadFile(filepath.Join(home, "secret"))
	require.NoError(t, err)
	assert.Equal(t, "the secret", string(content))
	assert.Equal(t, "the secret\n", output(t, neighbour, shell("cat secret")))
}

// TestNextProcess kills the process that made containers, and looks what the next one finds: in the same namespace, what
// the first one left; in another, as the first has ended, containers that it removes.
func TestNextProcess(t *testing.T) {
	switch os.Getenv(rootlessEnv) {
	case "":
		t.Parallel()
		u := newOrdinaryUser(t, someIDs)
		var killed *exec.ExitError
		for _, what := range []string{"make", "adopt", "make", "end", "lost"} {
			cmd := u.command(what, "^TestNextProcess$")
			cmd.Env = append(cmd.Env, namespaceEnv+"="+filepath.Join(u.dir, "namespace"))
			out, err := cmd.CombinedOutput()
			if what == "make" {
				require.ErrorAs(t, err, &killed, "%s", out)
				require.Equal(t, unix.SIGKILL, killed.Sys().(syscall.WaitStatus).Signal(), "%s", out)
			} else {
				require.NoError(t, err, "%s: %s", what, out)
			}
		}
		return
	case "end":
		require.NoError(t, userns.End(t.Context(), os.Getenv(namespaceEnv)))
		return
	}
	depot := filepath.Join(os.Getenv("TMPDIR"), "depot")
	b, err := runc.New(runc.Options{Depot: depot})
	require.NoError(t, err)
	if os.Getenv(rootlessEnv) == "make" {
		c := create(t, b, container.Spec{Handle: "kept"})
		output(t, c, shell("echo kept >file; chmod 600 file"))
		_, err := c.Run(t.Context(), shell("trap 'exit 7' TERM; sleep 31536001 & wait"), container.IO{})
		require.NoError(t, err)
		require.NoError(t, unix.Kill(os.Getpid(), unix.SIGKILL))
	}
	c, err := b.Lookup(t.Context(), "kept")
	if os.Getenv(rootlessEnv) == "lost" {
		assert.ErrorIs(t, err, container.ErrNotFound)
		assert.NoDirExists(t, filepath.Join(depot, "kept"))
	} else {
		require.NoError(t, err)
		assert.Equal(t, "kept\n", output(t, c, shell("cat file")))
		p, err := c.Attach(t.Context(), 2, container.IO{})
		require.NoError(t, err)
		require.NoError(t, p.Signal(t.Context(), unix.SIGTERM))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		status, err := p.Wait(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, 7, status)
	}
	shut(t, b)
	require.NoError(t, userns.End(t.Context(), os.Getenv(namespaceEnv)))
	out, _ := exec.Command("pgrep", "-f", "^sleep 31536001").Output() // status 1: there is none
	assert.Empty(t, string(out), "no process is left")
}
