package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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

const mib = 1 << 20

// attach makes a loop device of a sparse file, which ends with the test.
func attach(t testing.TB, size int64) (device string) {
	t.Helper()
	needs.Root(t)
	for tool, pkg := range map[string]string{"losetup": "mount", "sfdisk": "fdisk", "partx": "util-linux", "mkfs.ext4": "e2fsprogs", "blkid": "util-linux"} {
		needs.Tool(t, tool, pkg)
	}
	image := filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, size))
	out, err := exec.Command("losetup", "--find", "--show", "--partscan", image).CombinedOutput()
	require.NoError(t, err, "%s", out)
	device = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		out, err := exec.Command("losetup", "--detach", device).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	})
	return device
}

// unmounted has everything below a directory unmounted when the test ends, when the agent has.
func unmounted(t testing.TB, dir string) {
	t.Cleanup(func() {
		mounts, err := disk.Linux{}.Mounts(context.Background())
		assert.NoError(t, err)
		for i := len(mounts) - 1; i >= 0; i-- {
			if strings.HasPrefix(mounts[i].Dir, dir+"/") {
				assert.NoError(t, disk.Linux{}.Unmount(context.Background(), mounts[i].Dir))
			}
		}
	})
}

// withDisks is a machine with two loop devices: vol-1, which its settings know and which is mounted when it comes up, and vol-2,
// which was attached later.
func withDisks(t *testing.T) *machine {
	first, second := attach(t, 64*mib), attach(t, 96*mib)
	m := overNATS(t, messagingtest.NewServer(t), func(settings object) {
		settings["disks"] = object{"persistent": object{"vol-1": first}}
	}, "-M", "dummy")
	unmounted(t, m.dir)
	require.NoError(t, m.agent.AddPersistentDisk(t.Context(), "vol-2", map[string]any{"path": second}))
	return m
}

func TestRealDisks(t *testing.T) {
	t.Parallel()
	m := withDisks(t)
	ctx := t.Context()
	require.NoError(t, m.agent.MountDisk(ctx, "vol-1"), "it is mounted")
	m.write("store/data", "all there is")
	require.NoError(t, m.agent.MountDisk(ctx, "vol-2"))
	mounted, err := m.agent.ListDisk(ctx)
	require.NoError(t, err)
	assert.Equal(t, []string{"vol-1", "vol-2"}, mounted)
	require.NoError(t, m.agent.MigrateDisk(ctx, "vol-1", "vol-2"))
	assert.Equal(t, "all there is", m.file("store/data"))
	mounted, err = m.agent.ListDisk(ctx)
	require.NoError(t, err)
	assert.Equal(t, []string{"vol-2"}, mounted)

	// An agent that comes up mounts what was mounted last.
	m.Kill()
	require.NoError(t, unix.Unmount(filepath.Join(m.base, "store"), 0))
	m.again()
	assert.Equal(t, "all there is", m.file("store/data"))
	require.NoError(t, m.agent.UnmountDisk(ctx, "vol-2"))
	assert.Empty(t, m.file("store/data"))
	require.ErrorContains(t, m.agent.MountDisk(ctx, "vol-9"), "Persistent disk with volume id 'vol-9' could not be found")
}

// A machine whose disks are not those that the director has named does not come up, and says why.
func TestDisksThatAreNotThoseNamed(t *testing.T) {
	t.Parallel()
	devices := []string{attach(t, 64*mib), attach(t, 64*mib)}
	disks := func(cids ...string) object {
		all := object{}
		for i, cid := range cids {
			all[cid] = devices[i]
		}
		return object{"persistent": all}
	}
	m := overNATS(t, messagingtest.NewServer(t), func(settings object) { settings["disks"] = disks("vol-1") }, "-M", "dummy")
	unmounted(t, m.dir)
	named := []client.DiskAssociation{{Name: "db", CID: "vol-1"}}
	require.NoError(t, m.agent.UpdateSettings(t.Context(), client.UpdateSettings{DiskAssociations: named}))
	m.Kill()
	m.again()
	m.Kill()
	var settings object
	require.NoError(t, json.Unmarshal([]byte(m.file("../settings.json")), &settings))
	for want, cids := range map[string][]string{"Attached disk disagrees with previous mount": {"vol-2"}, "Unexpected disk attached": {"vol-1", "vol-2"}} {
		settings["disks"] = disks(cids...)
		m.json("settings.json", settings)
		p := programtest.Start(t, m.args...)
		assert.Equal(t, exitFailed, p.End())
		assert.Contains(t, p.Text(), want)
	}
	settings["disks"] = object{}
	m.json("settings.json", settings)
	p := programtest.Start(t, m.args...)
	assert.Equal(t, exitFailed, p.End())
	assert.Contains(t, p.Text(), "Disk vol-1 is not attached")
	settings["disks"] = disks("vol-1")
	m.json("settings.json", settings)
	m.again()
}

// A disk that is full is told, leaves nothing half-done, and the agent goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	needs.Root(t)
	server := messagingtest.NewServer(t)
	m := overNATS(t, server, nil, "-M", "dummy")
	data := filepath.Join(m.base, "data")
	m.Kill()
	require.NoError(t, os.RemoveAll(data))
	require.NoError(t, os.Mkdir(data, 0o755))
	require.NoError(t, unix.Mount("tmpfs", data, "tmpfs", 0, "size=2m"))
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(data, unix.MNT_DETACH)) })
	m.again()

	large := make([]string, 0, 64<<10) // what does not shrink much
	for n := range 64 << 10 {
		large = append(large, fmt.Sprintf("%x", n*2654435761))
	}
	content := files{"lib/large": strings.Join(large, "\n") + strings.Repeat("\nfilled up", 4*mib/10)}
	spec := m.spec(client.Compiled{BlobID: "tool", SHA1: m.blob("tool", content)})
	err := m.agent.Apply(t.Context(), spec)
	require.ErrorContains(t, err, "no space left on device")
	installed, err := filepath.Glob(filepath.Join(m.base, "data/packages/tool/*"))
	require.NoError(t, err)
	assert.Empty(t, installed)
	temporary, err := filepath.Glob(filepath.Join(m.base, "data/tmp/*"))
	require.NoError(t, err)
	assert.Empty(t, temporary)

	_, err = m.agent.CompilePackage(t.Context(), m.source(), nil)
	require.NoError(t, err, "there is room for a small one")
	state, err := m.agent.State(t.Context())
	require.NoError(t, err)
	assert.Empty(t, state.Deployment, "the spec was not kept")
}

// An agent begins anew and answers on a disk on which nothing fits any more, and goes on as before when there is room.
func TestStartOnFullDisk(t *testing.T) {
	t.Parallel()
	for _, supervisor := range []string{"dummy", "dev", "monit"} {
		t.Run(supervisor, func(t *testing.T) {
			t.Parallel()
			if supervisor == "monit" {
				needs.Tool(t, "monit", "monit")
			}
			device := attach(t, 16*mib)
			out, err := exec.Command("mkfs.ext4", "-q", "-m", "0", device).CombinedOutput()
			require.NoError(t, err, "%s", out)
			m := overNATS(t, messagingtest.NewServer(t), func(settings object) { settings["ntp"] = []string{"10.0.0.2"} },
				"-M", supervisor, "--monit-port", strconv.Itoa(programtest.FreePort(t)))
			m.Kill()
			require.NoError(t, unix.Mount(device, m.base, "ext4", 0, ""))
			t.Cleanup(func() { assert.NoError(t, unix.Unmount(m.base, unix.MNT_DETACH)) })
			m.again()
			m.fill()

			m.Kill()
			m.again() // its pid file and settings are there
			m.Signal(syscall.SIGTERM)
			require.Equal(t, exitOK, m.End())
			m.again() // its pid file is not
			m.Kill()
			var settings object
			require.NoError(t, json.Unmarshal([]byte(m.file("../settings.json")), &settings))
			settings["vm"] = object{"name": "vm-2"}
			m.json("settings.json", settings)
			m.again() // the settings are others
			state, err := m.agent.State(t.Context())
			require.NoError(t, err)
			assert.JSONEq(t, `"vm-2"`, string(state.VM["name"]))
			if supervisor != "monit" { // which writes, too, and may leave some room
				assert.Contains(t, m.Text(), "settings.not_kept")
				err = m.agent.UpdateSettings(t.Context(), client.UpdateSettings{TrustedCerts: ""})
				require.ErrorContains(t, err, "no space left on device")
			}

			require.NoError(t, os.Remove(filepath.Join(m.base, "filling")))
			require.NoError(t, m.agent.UpdateSettings(t.Context(), client.UpdateSettings{TrustedCerts: ""}))
			m.Kill()
			m.again()
			assert.Contains(t, m.file("bosh/settings.json"), "vm-2")
		})
	}
}

// fill leaves no room on the disk of the base directory.
func (m *machine) fill() {
	m.t.Helper()
	f, err := os.Create(filepath.Join(m.base, "filling"))
	require.NoError(m.t, err)
	defer f.Close()
	for _, size := range []int{mib, 4 << 10, 1} {
		for err = nil; err == nil; _, err = f.Write(make([]byte, size)) {
		}
		require.ErrorIs(m.t, err, unix.ENOSPC)
	}
	require.NoError(m.t, f.Sync())
}
