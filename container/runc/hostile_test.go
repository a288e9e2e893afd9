package runc_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc"
)

// secretFile returns a file of the host that every account may read, at a path that containers see if nothing hides it.
func secretFile(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "runc-test-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777))
	name := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(name, []byte("the secret"), 0o666))
	require.NoError(t, os.Chmod(name, 0o666))
	return name
}

// TestReadsAndWritesOutside lets processes, with and without the privileges of root, try to get at what is not theirs.
func TestReadsAndWritesOutside(t *testing.T) {
	secret := secretFile(t)
	depot := depotDir(t)
	b := open(t, runc.Options{Depot: depot, Hide: []string{filepath.Dir(secret)}})
	neighbour := create(t, b, container.Spec{Handle: "neighbour", Env: []string{"SECRET=the secret"}})
	output(t, neighbour, shell("echo the secret >secret; chmod 666 secret"))
	c := create(t, b, container.Spec{Handle: "attacker"})
	hostPID := os.Getpid()

	attempts := map[string]string{
		"a hidden path":               "cat " + secret,
		"up from the root":            "cat /../../../.." + secret,
		"by the root of process 1":    "cat /proc/1/root" + secret,
		"by its own root":             "cat /proc/self/root/../.." + secret,
		"by descriptors of process 1": "cat /proc/1/fd/4 && echo the secret",
		"a host process":              fmt.Sprintf("ls -d /proc/%d/cwd && echo the secret", hostPID),
		"the depot":                   "cat " + filepath.Join(depot, "neighbour/container.json"),
		"the neighbour's files":       "cat " + filepath.Join(depot, "neighbour/rootfs/home/vcap/secret"),
		"a mount":                     "mount -t tmpfs none /mnt && echo the secret",
		"a bind mount":                "mount --bind / /mnt && echo the secret",
		"another proc":                "mkdir -p /tmp/p; mount -t proc proc /tmp/p && echo the secret",
		"its root again, writable":    "mount -o remount,rw /sys && echo the secret",
		"a namespace of its own":      "unshare --user --map-root-user true && echo the secret",
		"namespaces of process 1":     "nsenter --target 1 --mount true && echo the secret",
		"kernel settings":             "echo 1 >/proc/sys/kernel/sysrq && echo the secret",
		"the kernel's core handler":   "echo '|/tmp/x' >/proc/sys/kernel/core_pattern && echo the secret",
		"the machine's switch":        "echo h >/proc/sysrq-trigger && echo the secret",
		"a device of the host":        "mknod /tmp/d b 254 0 && head -c 1 /tmp/d && echo the secret",
		"memory of the machine":       "head -c 1 /proc/kcore | grep -q . && echo the secret",
		"names of neighbours":         "cat /sys/block/loop*/loop/backing_file | grep neighbour && echo the secret",
		"control groups":              "mkdir -p /tmp/cg; mount -t cgroup -o memory none /tmp/cg && echo the secret",
		"the host's name":             "hostname evil && echo the secret",
		"a setuid program":            "cp /bin/sh /tmp/sh$$ && chmod 4755 /tmp/sh$$ && mount -t tmpfs none /mnt && echo the secret",
		"its interface":               "ip link set eth0 down && echo the secret",
		"a raw socket":                "python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)' && echo the secret",
		"a kernel module":             "modprobe loop && echo the secret",
		"the clock":                   "date -s @0 && echo the secret",
	}
	for name, script := range attempts {
		for _, user := range []string{container.AppUser, "root"} {
			spec := shell(script)
			spec.User = user
			out, status := run(t, c, spec)
			assert.NotContains(t, strings.ReplaceAll(out, "echo the secret", ""), "the secret", "%s as %s: status %d", name, user, status)
		}
	}
	for _, write := range []string{
		"echo spoilt >" + secret, "echo spoilt >/proc/1/root" + secret, "rm -rf " + filepath.Dir(secret), "echo spoilt >>/etc/passwd",
		"echo spoilt >/bin/true", "rm -rf /bin /usr/bin /lib",
	} {
		run(t, c, asRoot(shell(write)))
	}
	content, err := os.ReadFile(secret)
	require.NoError(t, err)
	assert.Equal(t, "the secret", string(content))
	passwd, err := os.ReadFile("/etc/passwd")
	require.NoError(t, err)
	assert.NotContains(t, string(passwd), "spoilt")
	assert.FileExists(t, "/bin/true")
	assert.Equal(t, "the secret\n", output(t, neighbour, shell("cat secret")), "the neighbour has what it had")
}

// TestHiddenByLink hides what is named by way of links, which lead the container there too.
func TestHiddenByLink(t *testing.T) {
	secret := secretFile(t)
	links, err := os.MkdirTemp("/var/lib", "runc-test-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(links) })
	require.NoError(t, os.Chmod(links, 0o755))
	require.NoError(t, os.Symlink(filepath.Dir(secret), filepath.Join(links, "dir")))
	for _, hide := range []string{"dir", "dir/secret"} {
		b := open(t, runc.Options{Hide: []string{filepath.Join(links, hide), "/does/not/exist", secret + "/below a file"}})
		c := create(t, b, container.Spec{})
		out, status := run(t, c, shell("cat "+secret+" "+filepath.Join(links, "dir/secret")))
		assert.NotContains(t, out, "the secret", hide)
		assert.NotZero(t, status)
		shut(t, b)
	}
}

// TestIdentity looks at what processes are.
func TestIdentity(t *testing.T) {
	b := open(t, runc.Options{})
	c := create(t, b, container.Spec{Handle: "me"})
	out := output(t, c, shell(`id -un; id -gn; id -G | wc -w; echo $HOME; pwd; hostname; umask
		grep -E '^(NoNewPrivs|Seccomp|Cap(Inh|Prm|Eff|Bnd|Amb)):' /proc/self/status; readlink /app; stat -c '%U %a' /home/vcap /tmp /var/tmp; cat /proc/1/comm
		ls -A / | grep supervisor; ls -A /home /tmp`))
	assert.Equal(t, strings.Join([]string{
		"vcap", "vcap", "1", "/home/vcap", "/home/vcap", "me", "0022",
		"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000",
		"CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2",
		"home/vcap/app", "vcap 755", "root 1777", "root 1777", "supervisor",
		"/home:", "vcap", "", "/tmp:", "",
	}, "\n"), out)
	other := create(t, b, container.Spec{})
	assert.NotEqual(t, output(t, c, shell("id -u")), output(t, other, shell("id -u")), "no two containers share a user")
	assert.Equal(t, "0\n/root\n", output(t, c, asRoot(shell("id -u; pwd"))))
	nobody := shell("id -un")
	nobody.User = "nobody"
	nobody.Dir = "/"
	assert.Equal(t, "nobody\n", output(t, c, nobody))
	nobody.User = "someone"
	_, err := c.Run(t.Context(), nobody, container.IO{})
	require.ErrorIs(t, err, container.ErrInvalid)
}

// TestExhaustion lets a container take all that it can, and looks whether others get on.
func TestExhaustion(t *testing.T) {
	b := open(t, runc.Options{Disk: runc.DiskLoop, StopGrace: time.Second})
	neighbour := create(t, b, container.Spec{})
	fine := func(after string) {
		t.Helper()
		assert.Equal(t, "fine\n", output(t, neighbour, shell("echo fine")), "after "+after)
	}

	c := create(t, b, container.Spec{Limits: container.Limits{PIDs: 50, CPUQuota: 0.5}})
	out, status := run(t, c, shell("while :; do sleep 1000 >/dev/null 2>&1 & done"))
	assert.Contains(t, out, "Cannot fork", "status %d", status)
	u, err := c.Usage(t.Context())
	require.NoError(t, err)
	assert.InDelta(t, 49, u.Processes, 1)
	fine("as many processes as there can be")
	require.NoError(t, c.Stop(t.Context(), true))

	c = create(t, b, container.Spec{Limits: container.Limits{PIDs: 100, CPUQuota: 0.5}})
	bomb, err := c.Run(t.Context(), shell("f() { f | f & f; }; f; sleep 1000"), container.IO{})
	require.NoError(t, err)
	fine("a fork bomb")
	require.NoError(t, c.Destroy(t.Context()), "of what forks all the time")
	_, err = bomb.Wait(t.Context())
	require.NoError(t, err)

	c = create(t, b, container.Spec{Limits: container.Limits{DiskBytes: 32 << 20}})
	out, status = run(t, c, shell("head -c 100000000 /dev/zero >big; wc -c <big"))
	assert.Contains(t, out, "No space left", "status %d", status)
	u, err = c.Usage(t.Context())
	require.NoError(t, err)
	assert.InDelta(t, 32<<20, u.DiskBytes, 2<<20)
	fine("a full disk")
	out, _ = run(t, c, asRoot(shell("head -c 10000000 /dev/zero >/root/more")))
	assert.Contains(t, out, "No space left", "root has no more")
	// Limits change in both directions.
	require.NoError(t, c.SetLimits(t.Context(), container.Limits{DiskBytes: 64 << 20}))
	output(t, c, shell("head -c 30000000 /dev/zero >more"))
	require.NoError(t, c.SetLimits(t.Context(), container.Limits{DiskBytes: 1 << 20}))
	_, status = run(t, c, shell("echo x >little; head -c 100000 /dev/zero >more2"))
	assert.NotZero(t, status)

	c = create(t, b, withHelper(t))
	assert.Equal(t, "256 no space left on device", output(t, c, helperSpec("terminals")))
	fine("all its terminals")

	spec := withHelper(t)
	spec.Limits.MemoryBytes = 64 << 20
	c = create(t, b, spec)
	var held int64
	_, err = fmt.Sscan(output(t, c, helperSpec("buffers")), &held)
	require.NoError(t, err)
	assert.Less(t, held, int64(96<<20), "memory for sockets is counted too")
	fine("full buffers of sockets")

	c = create(t, b, container.Spec{Limits: container.Limits{MemoryBytes: 64 << 20}})
	_, status = run(t, c, shell("head -c 1000000000 /dev/zero | tail | wc -c"))
	assert.Eventually(t, func() bool {
		info, err := c.Info(t.Context())
		return err == nil && info.State == container.StateStopped && len(info.Events) == 1
	}, 20*time.Second, 10*time.Millisecond, "out of memory; status %d", status)
	fine("a full memory")

	c = create(t, b, container.Spec{})
	many := shell("i=0; while [ $i -lt 100 ]; do sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done; wait")
	n := uint64(60)
	many.Rlimits.NProc = &n
	var text strings.Builder
	p, err := c.Run(t.Context(), many, container.IO{Stdout: &text, Stderr: &text})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = p.Wait(ctx)
	require.NoError(t, err)
	assert.Contains(t, text.String(), "Cannot fork")
	fine("too many processes of a user")
}

// TestDiskInodes bounds the number of files, where the disk can.
func TestDiskInodes(t *testing.T) {
	for _, mode := range []runc.DiskMode{runc.DiskLoop, runc.DiskMemory} {
		b := open(t, runc.Options{Disk: mode})
		c := create(t, b, container.Spec{Limits: container.Limits{DiskInodes: 2000}})
		out, status := run(t, c, shell("i=0; while [ $i -lt 3000 ]; do : >f$i || exit 9; i=$((i+1)); done"))
		assert.Contains(t, out, "No space left", "%s: status %d", mode, status)
		require.NoError(t, c.Destroy(t.Context()))
	}
}

// TestMemoryDisk keeps files in memory, which a limit bounds that can change.
func TestMemoryDisk(t *testing.T) {
	b := open(t, runc.Options{Disk: runc.DiskMemory})
	assert.Equal(t, container.ByKernel, b.Capabilities().Disk)
	c := create(t, b, container.Spec{Limits: container.Limits{DiskBytes: 8 << 20}})
	_, status := run(t, c, shell("head -c 10000000 /dev/zero >big"))
	assert.NotZero(t, status)
	require.NoError(t, c.SetLimits(t.Context(), container.Limits{DiskBytes: 32 << 20}))
	output(t, c, shell("head -c 10000000 /dev/zero >big"))
	u, err := c.Usage(t.Context())
	require.NoError(t, err)
	assert.InDelta(t, 10_000_000, u.DiskBytes, 1<<20)
}

// TestCPUQuota compares a loop in two containers.
func TestCPUQuota(t *testing.T) {
	b := open(t, runc.Options{})
	c := create(t, b, container.Spec{Limits: container.Limits{CPUQuota: 0.2, CPUShares: 512}})
	_, err := c.Run(t.Context(), shell("while :; do :; done"), container.IO{})
	require.NoError(t, err)
	first, err := c.Usage(t.Context())
	require.NoError(t, err)
	var last container.Usage
	require.Eventually(t, func() bool {
		last, err = c.Usage(t.Context())
		return err == nil && last.CPUTime-first.CPUTime > 300*time.Millisecond
	}, 30*time.Second, 20*time.Millisecond)
	// However busy the machine is, it can only be less.
	assert.Less(t, last.CPU(first), 0.3)
}

// TestRootFS takes a directory and a tarball as base.
func TestRootFS(t *testing.T) { rootFS(t, runc.Options{}) }

func rootFS(t *testing.T, opts runc.Options) {
	requirements(t)
	base := smallBase(t)
	tarball := filepath.Join(t.TempDir(), "base.tar.gz")
	archive(t, tarball, base)
	opts.RootFS = tarball
	b := open(t, opts)
	for name, spec := range map[string]container.Spec{"tarball": {}, "directory": {RootFS: base}} {
		c := create(t, b, spec)
		assert.Equal(t, "of the base\n", output(t, c, shell("cat /mark")), name)
		assert.Equal(t, "vcap\n", output(t, c, shell("id -un")), name)
		output(t, c, asRoot(shell("echo spoilt >/mark; rm -rf /etc")))
		assert.Equal(t, "spoilt\n", output(t, c, shell("cat /mark")), name)
		require.NoError(t, c.Destroy(t.Context()))
	}
	mark, err := os.ReadFile(filepath.Join(base, "mark"))
	require.NoError(t, err)
	assert.Equal(t, "of the base\n", string(mark))
	_, err = b.Create(t.Context(), container.Spec{RootFS: "/does/not/exist"})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = b.Create(t.Context(), container.Spec{RootFS: "/dev/null"})
	require.Error(t, err)
}
