package disk_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/internal/needs"
)

const mib = 1 << 20

// A machine is a system to which a test can attach disks.
type machine struct {
	t      *testing.T
	system disk.System
	base   string
	attach func(size int64) (device string)
	grow   func(device string, size int64)

	mu       sync.Mutex
	settings settings.Settings
}

// memory is a machine that is only noted.
func memory(t *testing.T) *machine {
	dir := t.TempDir()
	m, err := disk.NewMemory(filepath.Join(dir, "disks"))
	require.NoError(t, err)
	letter := 'b'
	return &machine{t: t, system: m, base: filepath.Join(dir, "vcap"),
		attach: func(size int64) string {
			device := "/dev/sd" + string(letter)
			letter++
			require.NoError(t, m.Attach(device, size))
			return device
		},
		grow: func(device string, size int64) { require.NoError(t, m.Attach(device, size)) },
	}
}

// loops is this machine with loop devices of sparse files, which end with the test.
func loops(t *testing.T) *machine {
	t.Helper()
	needs.Root(t)
	for tool, pkg := range map[string]string{"losetup": "mount", "sfdisk": "fdisk", "partx": "util-linux",
		"mkfs.ext4": "e2fsprogs", "blkid": "util-linux"} {
		needs.Tool(t, tool, pkg)
	}
	dir := t.TempDir()
	images := map[string]string{}
	m := &machine{t: t, system: disk.Linux{}, base: filepath.Join(dir, "vcap")}
	m.attach = func(size int64) string {
		image := filepath.Join(dir, "image"+string(rune('a'+len(images))))
		require.NoError(t, os.WriteFile(image, nil, 0o600))
		require.NoError(t, os.Truncate(image, size))
		device := strings.TrimSpace(run(t, "losetup", "--find", "--show", "--partscan", image))
		images[device] = image
		t.Cleanup(func() {
			unmountBelow(t, dir)
			run(t, "losetup", "--detach", device)
		})
		return device
	}
	m.grow = func(device string, size int64) {
		require.NoError(t, os.Truncate(images[device], size))
		run(t, "losetup", "--set-capacity", device)
	}
	return m
}

func unmountBelow(t *testing.T, dir string) {
	mounts, err := disk.Linux{}.Mounts(context.Background())
	assert.NoError(t, err)
	for i := len(mounts) - 1; i >= 0; i-- {
		if strings.HasPrefix(mounts[i].Dir, dir+"/") {
			assert.NoError(t, disk.Linux{}.Unmount(context.Background(), mounts[i].Dir))
		}
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
	return string(out)
}

// everywhere runs a test on both machines.
func everywhere(t *testing.T, test func(*testing.T, *machine)) {
	t.Run("memory", func(t *testing.T) { test(t, memory(t)) })
	t.Run("loop devices", func(t *testing.T) { test(t, loops(t)) })
}

// disk attaches a disk of 64 MiB and puts it into the settings.
func (m *machine) disk(cid string) (device string) {
	device = m.attach(64 * mib)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.settings.Disks.Persistent == nil {
		m.settings.Disks.Persistent = map[string]settings.Disk{}
	}
	m.settings.Disks.Persistent[cid] = settings.Disk{CID: cid, Path: device}
	return device
}

func (m *machine) load(context.Context) (*settings.Settings, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.settings
	return &s, nil
}

func (m *machine) manager(change ...func(*disk.Config)) *disk.Manager {
	m.t.Helper()
	cfg := disk.Config{System: m.system, Resolver: disk.Identity{}, BaseDir: m.base, Settings: m.load,
		UnmountTries: 3, UnmountDelay: -1}
	for _, c := range change {
		c(&cfg)
	}
	manager, err := disk.New(cfg)
	require.NoError(m.t, err)
	return manager
}

// mounted returns the device at a directory, "" for none.
func (m *machine) mounted(dir string) string {
	m.t.Helper()
	mounts, err := m.system.Mounts(m.t.Context())
	require.NoError(m.t, err)
	for i := len(mounts) - 1; i >= 0; i-- {
		if mounts[i].Dir == dir {
			return mounts[i].Device
		}
	}
	return ""
}
