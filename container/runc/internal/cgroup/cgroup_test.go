package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake makes a directory with files that looks like control groups.
func fake(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return dir
}

// v2 is a group of version 2 with what the kernel puts into it.
func v2(t *testing.T) (Group, string) {
	dir := fake(t, map[string]string{
		"cgroup.controllers": "cpuset cpu io memory pids\n", "c/memory.max": "max\n", "c/memory.swap.max": "max\n",
		"c/cpu.weight": "100\n", "c/cpu.max": "max 100000\n", "c/pids.max": "max\n", "c/cgroup.procs": "12\n13\n0\n",
		"c/memory.stat":   "anon 1000\nfile 500\ninactive_file 200\nslab 7\n",
		"c/memory.events": "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n",
		"c/cpu.stat":      "usage_usec 2500000\nuser_usec 1\n",
	})
	h, err := find(strings.NewReader(fmt.Sprintf("30 1 0:26 / %s rw - cgroup2 cgroup2 rw\n", dir)))
	require.NoError(t, err)
	return h.Group("/c"), filepath.Join(dir, "c")
}

func content(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := read(dir, name)
	require.NoError(t, err)
	return text
}

func TestVersion2(t *testing.T) {
	g, dir := v2(t)
	assert.Equal(t, "v2", g.h.Layout())
	assert.True(t, g.h.Has("memory") && g.h.Has("pids"))
	assert.False(t, g.h.Has("devices"))

	require.NoError(t, g.SetLimits(Limits{MemoryBytes: 4096, CPUShares: 1024, CPUQuota: 1.5, PIDs: 7}))
	for name, want := range map[string]string{
		"memory.max": "4096", "memory.swap.max": "0", "cpu.weight": "39", "cpu.max": "150000 100000", "pids.max": "7",
	} {
		assert.Equal(t, want, content(t, dir, name), name)
	}
	require.NoError(t, g.SetLimits(Limits{}))
	for name, want := range map[string]string{
		"memory.max": "max", "memory.swap.max": "max", "cpu.weight": "39", "cpu.max": "max 100000", "pids.max": "max",
	} {
		assert.Equal(t, want, content(t, dir, name), name)
	}

	memory, err := g.Memory()
	require.NoError(t, err)
	assert.EqualValues(t, 1300, memory)
	cpu, err := g.CPUTime()
	require.NoError(t, err)
	assert.Equal(t, 2500*time.Millisecond, cpu)
	kills, err := g.OOMKills()
	require.NoError(t, err)
	assert.EqualValues(t, 1, kills)
	pids, err := g.Processes()
	require.NoError(t, err)
	assert.Equal(t, []int{12, 13}, pids)
}

func TestOOMFile(t *testing.T) {
	g, dir := v2(t)
	file, ok := g.OOMFile()
	assert.True(t, ok)
	assert.Equal(t, filepath.Join(dir, "memory.events"), file)
	watch, err := g.WatchOOM()
	require.NoError(t, err)
	assert.Nil(t, watch)
}

func TestVersion1AndHybrid(t *testing.T) {
	dir := fake(t, map[string]string{
		"memory/c/memory.limit_in_bytes": "-1", "memory/c/memory.memsw.limit_in_bytes": "-1",
		"memory/c/memory.stat":        "rss 1\ntotal_rss 1000\ntotal_cache 500\ntotal_inactive_file 200\n",
		"memory/c/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
		"cpu,cpuacct/c/cpu.shares":    "1024", "cpu,cpuacct/c/cpu.cfs_quota_us": "-1", "cpu,cpuacct/c/cpuacct.usage": "77\n",
		"pids/c/pids.max": "max", "unified/cgroup.controllers": "",
	})
	var mounts strings.Builder
	for _, name := range []string{"memory", "cpu,cpuacct", "pids"} {
		fmt.Fprintf(&mounts, "31 30 0:27 / %s/%s rw,nosuid shared:9 - cgroup cgroup rw,%s\n", dir, name, name)
	}
	fmt.Fprintf(&mounts, "40 30 0:30 / %s/unified rw - cgroup2 cgroup2 rw\n", dir)
	h, err := find(strings.NewReader(mounts.String()))
	require.NoError(t, err)
	assert.Equal(t, "hybrid", h.Layout())
	g := h.Group("/c")
	require.NoError(t, g.SetLimits(Limits{MemoryBytes: 4096, CPUShares: 1, CPUQuota: 0.000001, PIDs: 7}))
	for name, want := range map[string]string{
		"memory/c/memory.limit_in_bytes": "4096", "memory/c/memory.memsw.limit_in_bytes": "4096",
		"cpu,cpuacct/c/cpu.shares": "2", "cpu,cpuacct/c/cpu.cfs_quota_us": "1000", "pids/c/pids.max": "7",
	} {
		assert.Equal(t, want, content(t, dir, name), name)
	}
	memory, err := g.Memory()
	require.NoError(t, err)
	assert.EqualValues(t, 1300, memory)
	cpu, err := g.CPUTime()
	require.NoError(t, err)
	assert.EqualValues(t, 77, cpu)
	kills, err := g.OOMKills()
	require.NoError(t, err)
	assert.EqualValues(t, 3, kills)
	names, err := h.Children("/")
	require.NoError(t, err)
	assert.Equal(t, []string{"c"}, names)

	// Without a controller there is nothing to be done.
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "memory")))
	_, err = g.OOMKills()
	require.Error(t, err, "of a group that does not exist")
	h, err = find(strings.NewReader(fmt.Sprintf("31 30 0:27 / %s/pids rw - cgroup cgroup rw,pids\n", dir)))
	require.NoError(t, err)
	require.NoError(t, h.Group("/c").SetLimits(Limits{MemoryBytes: 1, PIDs: 3}))
	kills, err = h.Group("/c").OOMKills()
	require.NoError(t, err)
	assert.Zero(t, kills)
	_, err = find(strings.NewReader("1 1 8:1 / / rw - ext4 /dev/sda1 rw\nshort\n"))
	require.ErrorIs(t, err, ErrNone)
}

func TestWeight(t *testing.T) {
	for shares, want := range map[int64]uint64{0: 39, 1: 1, 2: 1, 1024: 39, 262144: 10000, 1 << 40: 10000} {
		assert.Equal(t, want, Limits{CPUShares: shares}.Weight(), "%d shares", shares)
	}
}
