package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// swapped has no one swap to a device any more when the test ends, and tells who does.
func swapped(t *testing.T, device string) (partitions func() []string) {
	for _, program := range []string{"mkswap", "swapon", "swapoff"} {
		needs.Tool(t, program, "mount")
	}
	partitions = func() (used []string) {
		swaps, err := disk.Linux{}.Swaps(t.Context())
		assert.NoError(t, err)
		for _, name := range swaps {
			if strings.HasPrefix(name, device+"p") {
				used = append(used, name)
			}
		}
		return used
	}
	t.Cleanup(func() {
		for _, name := range partitions() {
			out, err := exec.Command("swapoff", name).CombinedOutput()
			assert.NoError(t, err, "%s", out)
		}
	})
	return partitions
}

// TestEphemeralDisk: an agent that is told to has swap, and its data on the ephemeral disk, at each start.
func TestEphemeralDisk(t *testing.T) {
	t.Parallel()
	device := attach(t, 256*mib)
	swaps := swapped(t, device)
	m := overNATS(t, messagingtest.NewServer(t), func(settings object) {
		settings["disks"] = object{"ephemeral": device}
		settings["env"] = object{"bosh": object{"swap_size": 16}}
	}, "-M", "dummy", "--setup", "disks")
	unmounted(t, m.dir)
	data := filepath.Join(m.base, "data")
	assert.Equal(t, disk.PartitionPath(device, "2"), deviceOf(t, data))
	assert.Equal(t, []string{disk.PartitionPath(device, "1")}, swaps())
	m.write("data/tmp/note", "kept")
	state, err := m.agent.FullState(t.Context())
	require.NoError(t, err)
	assert.NotNil(t, state.Vitals.Disk.Ephemeral)

	m.Kill()
	m.again()
	assert.Equal(t, disk.PartitionPath(device, "2"), deviceOf(t, data), "once")
	m.Kill()
	require.NoError(t, unix.Unmount(data, 0))
	assert.Empty(t, m.file("data/tmp/note"))
	m.again()
	assert.Equal(t, "kept", m.file("data/tmp/note"))
}

// deviceOf tells what is mounted at a directory, which must be one thing.
func deviceOf(t *testing.T, dir string) string {
	t.Helper()
	mounts, err := disk.Linux{}.Mounts(t.Context())
	require.NoError(t, err)
	var devices []string
	for _, mount := range mounts {
		if mount.Dir == dir {
			devices = append(devices, mount.Device)
		}
	}
	require.Len(t, devices, 1)
	return devices[0]
}

// TestEphemeralDiskThatIsNotThere: who is told to set up a disk does not go on without.
func TestEphemeralDiskThatIsNotThere(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		linux object
		setup []string
		says  string // why it does not start; empty: it starts
	}{
		{says: "No ephemeral disk found", setup: []string{"--setup", "disks"}, linux: object{}},
		// Of a machine that is only noted: that of the test has a disk of its system too.
		{says: "ephemeral disk: nothing is mounted at /", setup: []string{"--setup", "disks", "-P", "dummy"}, linux: object{"CreatePartitionIfNoEphemeralDisk": true}},
		{setup: []string{"--setup", "disks"}, linux: object{"SkipDiskSetup": true}},
		{linux: object{"CreatePartitionIfNoEphemeralDisk": true}},
	} {
		dir := t.TempDir()
		m := &machine{t: t, dir: dir, base: filepath.Join(dir, "vcap")}
		m.json("settings.json", object{"agent_id": "agent-1", "mbus": "nats://127.0.0.1:1"})
		m.json("agent.json", object{"Platform": object{"Linux": test.linux}, "Infrastructure": object{"Settings": object{"Sources": []object{
			{"Type": "File", "SettingsPath": filepath.Join(dir, "settings.json")}}}}})
		p := programtest.Start(t, append([]string{"-C", filepath.Join(dir, "agent.json"), "-b", m.base, "-r", dir, "-M", "dummy", "--no-alerts"}, test.setup...)...)
		if test.says == "" {
			p.Says("takes requests over NATS")
			continue
		}
		assert.Equal(t, exitFailed, p.End())
		assert.Contains(t, p.Text(), test.says)
		_, err := os.Stat(filepath.Join(m.base, "monit"))
		require.ErrorIs(t, err, os.ErrNotExist, "nothing else was done")
	}
}
