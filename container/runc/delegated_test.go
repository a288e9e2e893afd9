package runc_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc"
)

// groupEnv is the directory of the control group that an ordinary user was given.
const groupEnv = "RUNC_TEST_GROUP"

// TestDelegatedGroup gives a control group of version 2 to an ordinary user. What it limits depends on the machine: where
// version 1 has the controllers of memory and processes, there are none for version 2, as a controller is in one hierarchy
// of the kernel only. Processor time and the processes themselves are counted by every group.
func TestDelegatedGroup(t *testing.T) {
	if withoutRoot() {
		delegatedGroup(t)
		return
	}
	t.Parallel()
	u := newOrdinaryUser(t, "")
	top := version2(t)
	for _, controller := range []string{"+memory", "+pids", "+cpu"} {
		_ = os.WriteFile(filepath.Join(top, "cgroup.subtree_control"), []byte(controller), 0) // as far as there are any
	}
	group, err := os.MkdirTemp(top, "deakit-test-")
	require.NoError(t, err)
	t.Cleanup(func() { // what made it to the groups below is gone
		_ = os.Remove(filepath.Join(group, "deakit-node"))
		require.NoError(t, os.Remove(group))
	})
	for _, name := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
		require.NoError(t, os.Chown(filepath.Join(group, name), nobody, nobody))
	}
	cmd := u.command("yes", "^"+t.Name()+"$")
	cmd.Env = append(cmd.Env, groupEnv+"="+group)
	cmd.Args = append([]string{"sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, group}, cmd.Args...)
	cmd.Path = "/bin/sh"
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func delegatedGroup(t *testing.T) {
	group := os.Getenv(groupEnv)
	b := open(t, runc.Options{})
	caps := b.Capabilities()
	passed, err := os.ReadFile(filepath.Join(group, "cgroup.subtree_control"))
	require.NoError(t, err)
	for controller, enforced := range map[string]container.Enforcement{"cpu": caps.CPU, "pids": caps.PIDs} {
		assert.Equal(t, strings.Contains(string(passed), controller), enforced == container.ByKernel, controller)
	}
	assert.Equal(t, strings.Contains(string(passed), "memory"), caps.Memory == container.ByKernel)

	c := create(t, b, container.Spec{Handle: "grouped"})
	_, err = c.Run(t.Context(), shell("while :; do :; done"), container.IO{})
	require.NoError(t, err)
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	mark, err := runc.MarkOf(filepath.Dir(info.Path))
	require.NoError(t, err)
	dir := filepath.Join(group, "deakit-"+mark, "grouped")
	processes, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	require.NoError(t, err)
	assert.Len(t, strings.Fields(string(processes)), 2, "the supervisor and the loop")
	require.Eventually(t, func() bool {
		u, err := c.Usage(t.Context())
		return err == nil && u.CPUTime > 20*time.Millisecond && u.Processes == 1
	}, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, c.Destroy(t.Context()))
	assert.NoDirExists(t, dir)
}

// TestVersion2 looks at control groups as on a machine that has version 2 only. Those of a machine whose version 1 has the
// controllers have none then: this is about making, finding and ending groups, and about doing without.
func TestVersion2(t *testing.T) {
	if os.Getenv(groupEnv) != "" {
		conformance(t)
		return
	}
	t.Parallel()
	requirements(t)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command("unshare", "--mount", "sh", "-c", `mount -t cgroup2 none /mnt && umount --recursive /sys/fs/cgroup &&
		mount --move /mnt /sys/fs/cgroup && exec "$0" -test.v -test.run="$1"`, self, "^TestVersion2$/^(Life|Limits|Stop)$")
	cmd.Env = append(os.Environ(), groupEnv+"=/")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "--- PASS: TestVersion2/Limits/Usage")
}

// version2 is where control groups of version 2 are mounted.
func version2(t *testing.T) string {
	t.Helper()
	f, err := os.Open("/proc/self/mounts")
	require.NoError(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var device, at, kind string
		if _, err := fmt.Sscan(lines.Text(), &device, &at, &kind); err == nil && kind == "cgroup2" {
			return at
		}
	}
	at := t.TempDir() // of a machine with version 1 only, where it can be mounted at any time
	require.NoError(t, unix.Mount("none", at, "cgroup2", 0, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(at, 0)) })
	return at
}
