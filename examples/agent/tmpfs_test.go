package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// inMemory are the directories of a machine whose files are in memory, below its base directory.
func (m *machine) inMemory() (dirs []string) {
	m.t.Helper()
	mounts, err := disk.Linux{}.Mounts(context.Background())
	require.NoError(m.t, err)
	for _, mount := range mounts {
		if name, below := strings.CutPrefix(mount.Dir, m.base+"/"); below && mount.FileSystem == "tmpfs" {
			dirs = append(dirs, name)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// TestTmpfs: what a deployment wants in memory is there, and a machine that has lost it does not come up.
func TestTmpfs(t *testing.T) {
	t.Parallel()
	needs.Root(t)
	m := overNATS(t, messagingtest.NewServer(t), func(settings object) {
		settings["env"] = object{"bosh": object{"job_dir": object{"tmpfs": true, "tmpfs_size": "20m"}, "run_dir": object{"tmpfs_size": "4m"},
			"agent": object{"settings": object{"tmpfs": true}}}}
	}, "-M", "dummy", "--setup", "tmpfs")
	unmounted(t, m.dir)
	all := []string{"bosh/canrestart", "bosh/settings", "data/jobs", "data/sensitive_blobs", "data/sys/run"}
	assert.Equal(t, all, m.inMemory())
	for name, want := range map[string]uint64{"data/jobs": 20, "data/sensitive_blobs": 20, "data/sys/run": 4, "bosh/settings": 16} {
		var st unix.Statfs_t
		require.NoError(t, unix.Statfs(filepath.Join(m.base, name), &st))
		assert.Equal(t, want*mib, st.Blocks*uint64(st.Bsize), name)
	}
	for name, mode := range map[string]os.FileMode{"data/jobs": 0o750, "data/sensitive_blobs": 0o700, "data/sys/run": 0o750, "bosh/settings": 0o700, "bosh/canrestart": 0o740} {
		info, err := os.Stat(filepath.Join(m.base, name))
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm(), name)
	}
	assert.NoFileExists(t, filepath.Join(m.base, "bosh/settings.json"))
	assert.NotEmpty(t, m.file("bosh/settings/settings.json"))

	// Jobs are installed there, and known to a successor.
	require.NoError(t, m.agent.AddPersistentDisk(t.Context(), "vol-1", object{"path": "/dev/none"}))
	require.NoError(t, m.agent.UpdateSettings(t.Context(), client.UpdateSettings{}))
	tool, err := m.agent.CompilePackage(t.Context(), m.source(), nil)
	require.NoError(t, err)
	require.NoError(t, m.agent.Apply(t.Context(), m.spec(tool)))
	require.NoError(t, m.agent.RemovePersistentDisk(t.Context(), "vol-1"))
	m.Kill()
	m.again()
	assert.Equal(t, all, m.inMemory(), "once")
	assert.Equal(t, "a template\n", m.file("jobs/web/config.txt"))
	assert.NotEmpty(t, m.file("bosh/settings/update_settings.json"))
	assert.NotEmpty(t, m.file("bosh/settings/persistent_disk_hints.json"))

	m.Kill() // and the machine loses its memory
	for _, dir := range all {
		require.NoError(t, unix.Unmount(filepath.Join(m.base, dir), 0))
	}
	assert.Empty(t, m.file("jobs/web/config.txt"))
	p := programtest.Start(t, m.args...)
	assert.Equal(t, exitFailed, p.End())
	assert.Contains(t, p.Text(), "Refusing to boot")
}

// TestTmpfsOfRunFiles is what a machine has whose settings want nothing, and which may come up again.
func TestTmpfsOfRunFiles(t *testing.T) {
	t.Parallel()
	needs.Root(t)
	m := overNATS(t, messagingtest.NewServer(t), nil, "-M", "dummy", "--setup", "tmpfs")
	unmounted(t, m.dir)
	assert.Equal(t, []string{"data/sys/run"}, m.inMemory())
	m.Kill()
	require.NoError(t, unix.Unmount(filepath.Join(m.base, "data/sys/run"), 0))
	m.again()
	assert.Equal(t, []string{"data/sys/run"}, m.inMemory())
}

// TestTmpfsThatNobodyAskedFor is told, and not made; a size that makes no sense is refused.
func TestTmpfsThatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	m := overNATS(t, messagingtest.NewServer(t), func(settings object) {
		settings["env"] = object{"bosh": object{"job_dir": object{"tmpfs": true, "tmpfs_size": "1m,suid"}}}
	}, "-M", "dummy")
	assert.Empty(t, m.inMemory())
	assert.Contains(t, m.Text(), "agent.tmpfs.ignored")
	m.Kill()
	unmounted(t, m.dir)
	needs.Root(t)
	p := programtest.Start(t, append(m.args, "--setup", "tmpfs")...)
	assert.Equal(t, exitFailed, p.End())
	assert.Contains(t, p.Text(), `size "1m,suid"`)
}
