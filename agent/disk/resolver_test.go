package disk_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/settings"
)

// tree makes files, and links for names with a target, below a root.
func tree(t *testing.T, names map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, target := range names {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if target == "" {
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		} else {
			require.NoError(t, os.Symlink(filepath.Join(root, target), path))
		}
	}
	return root
}

const longID = "disk-0123456789-0123456789"

// resolve returns the device without the root, and how long it took.
func resolve(t *testing.T, root string, r disk.Resolver, d settings.Disk) (device string, took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		device, err = r.Resolve(t.Context(), d)
		took = time.Since(began)
	})
	if err == nil {
		device, err = filepath.Rel(root, device)
		require.NoError(t, err)
	}
	return device, took, err
}

func TestVirtio(t *testing.T) {
	by := func(id string) string { return "dev/disk/by-id/" + id }
	for name, test := range map[string]struct {
		files map[string]string
		disk  settings.Disk
		want  string
		took  time.Duration
	}{
		"by id":                     {map[string]string{"dev/vdq": "", by("virtio-" + longID): "dev/vdq", "dev/vdb": ""}, settings.Disk{CID: longID, Path: "/dev/sdb"}, "dev/vdq", 0},
		"by path, which waits":      {map[string]string{"dev/vdb": ""}, settings.Disk{CID: longID, Path: "/dev/sdb"}, "dev/vdb", 500 * time.Millisecond},
		"a short id is not used":    {map[string]string{"dev/vdq": "", by("virtio-d1"): "dev/vdq", "dev/sdb": ""}, settings.Disk{CID: "d1", Path: "/dev/sdb"}, "dev/sdb", 0},
		"xvd first":                 {map[string]string{"dev/vdb": "", "dev/xvdb": "", "dev/sdb": ""}, settings.Disk{Path: "/dev/sdb"}, "dev/xvdb", 0},
		"then vd":                   {map[string]string{"dev/vdb": "", "dev/sdb": ""}, settings.Disk{Path: "/dev/sdb"}, "dev/vdb", 0},
		"other names stay":          {map[string]string{"dev/nvme1n1": ""}, settings.Disk{Path: "/dev/nvme1n1"}, "dev/nvme1n1", 0},
		"links are followed":        {map[string]string{"dev/nvme1n1": "", "dev/xvdf": "dev/nvme1n1"}, settings.Disk{Path: "/dev/sdf"}, "dev/nvme1n1", 0},
		"two of the id are a guess": {map[string]string{"dev/vdq": "", by("a" + longID): "dev/vdq", by("b" + longID): "dev/vdq", "dev/vdb": ""}, settings.Disk{CID: longID, Path: "/dev/sdb"}, "dev/vdb", 500 * time.Millisecond},
	} {
		root := tree(t, test.files)
		got, took, err := resolve(t, root, disk.Virtio{Root: root}, test.disk)
		require.NoError(t, err, name)
		assert.Equal(t, test.want, got, name)
		assert.Equal(t, test.took, took, name)
	}

	root := tree(t, map[string]string{"dev/vdq": "", by("google-0123"): "dev/vdq"})
	transformed := disk.Virtio{Root: root, Pattern: regexp.MustCompile(`^disk-(\d{4}).*`), Replacement: "google-$1"}
	got, _, err := resolve(t, root, transformed, settings.Disk{CID: longID})
	require.NoError(t, err)
	assert.Equal(t, "dev/vdq", got)

	_, took, err := resolve(t, root, disk.Virtio{Root: root}, settings.Disk{Path: "/dev/sdz"})
	require.ErrorContains(t, err, "no device")
	assert.Equal(t, 30*time.Second, took)
	_, _, err = resolve(t, root, disk.Virtio{Root: root}, settings.Disk{CID: longID})
	require.ErrorIs(t, err, disk.ErrNoPath)
}

func TestDiskThatIsAttachedLate(t *testing.T) {
	root := tree(t, nil)
	synctest.Test(t, func(t *testing.T) {
		go func() {
			time.Sleep(3050 * time.Millisecond)
			_ = os.Mkdir(filepath.Join(root, "dev"), 0o700)
			_ = os.WriteFile(filepath.Join(root, "dev", "xvdb"), nil, 0o600)
		}()
		began := time.Now()
		_, err := disk.Virtio{Root: root}.Resolve(t.Context(), settings.Disk{Path: "/dev/sdb"})
		require.NoError(t, err)
		assert.Equal(t, 3100*time.Millisecond, time.Since(began))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = disk.Virtio{Root: root}.Resolve(ctx, settings.Disk{Path: "/dev/sdc"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestSCSI(t *testing.T) {
	const devices = "sys/bus/scsi/devices/"
	files := map[string]string{
		"dev/disk/by-id/wwn-0x6000c29abcdef": "dev/sdd", "dev/sdd": "",
		devices + "2:0:0:0/block/sda/size": "", devices + "2:0:1:0/block/sdb/size": "", devices + "3:0:1:0/block/sdx/size": "",
		"sys/vmbus/f8b3781a-1e82/host5/5:0:0:7/block/sde/size": "", devices + "5:0:0:7": "sys/vmbus/f8b3781a-1e82/host5/5:0:0:7",
		"sys/vmbus/f8b3781b-1e82/host6/6:0:0:7/block/sdf/size": "", devices + "6:0:0:7": "sys/vmbus/f8b3781b-1e82/host6/6:0:0:7",
		"sys/class/scsi_host/host2/scan": "", "sys/class/scsi_host/host3/scan": "",
	}
	root := tree(t, files)
	for want, d := range map[string]settings.Disk{
		"dev/sdd": {DeviceID: "6000c29-abc-def", VolumeID: "1"},
		"dev/sdb": {VolumeID: "1", Path: "1"},
		"dev/sde": {Lun: "7", HostDeviceID: "{F8B3781A-1E82}"},
		"dev/sdf": {Lun: "7", HostDeviceID: "f8b3781b-1e82"},
	} {
		got, took, err := resolve(t, root, disk.SCSI{Root: root}, d)
		require.NoError(t, err, want)
		assert.Equal(t, want, got)
		assert.Zero(t, took)
	}

	_, took, err := resolve(t, root, disk.SCSI{Root: root}, settings.Disk{VolumeID: "9"})
	require.Error(t, err)
	assert.Equal(t, 15*time.Second, took)
	assert.Equal(t, "- - -", read(t, filepath.Join(root, "sys/class/scsi_host/host2/scan")))
	assert.Empty(t, read(t, filepath.Join(root, "sys/class/scsi_host/host3/scan")), "only the controller of the root disk")
	_, took, err = resolve(t, root, disk.SCSI{Root: root}, settings.Disk{DeviceID: "ffff"})
	require.Error(t, err)
	assert.Equal(t, 50*time.Second, took)
	assert.Equal(t, "- - -", read(t, filepath.Join(root, "sys/class/scsi_host/host3/scan")))

	for _, d := range []settings.Disk{{}, {Path: "/dev/sdb"}, {DeviceID: "*"}, {VolumeID: "../1"}, {VolumeID: "[0-9]"}, {Lun: "?", HostDeviceID: "x"}} {
		_, took, err := resolve(t, root, disk.SCSI{Root: root}, d)
		require.Error(t, err, "%+v", d)
		assert.Zero(t, took)
	}
	empty := t.TempDir()
	_, _, err = resolve(t, empty, disk.SCSI{Root: empty}, settings.Disk{VolumeID: "1"})
	require.ErrorContains(t, err, "no SCSI controller")
}

func TestNewResolver(t *testing.T) {
	for kind, want := range map[string]disk.Resolver{"": disk.Identity{}, "virtio": disk.Virtio{}, "scsi": disk.SCSI{}} {
		r, err := disk.NewResolver(settings.Linux{DevicePathResolutionType: kind})
		require.NoError(t, err)
		assert.Equal(t, want, r)
	}
	_, err := disk.NewResolver(settings.Linux{DevicePathResolutionType: "iscsi"})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = disk.NewResolver(settings.Linux{DevicePathResolutionType: "virtio", DiskIDTransformPattern: "("})
	require.ErrorContains(t, err, "DiskIDTransformPattern")
	_, err = disk.Identity{}.Resolve(t.Context(), settings.Disk{})
	require.EqualError(t, err, "Getting real device path: path is missing")

	root := tree(t, map[string]string{"dev/sdc": "", "dev/azure/3": "dev/sdc"})
	r, err := disk.NewResolver(settings.Linux{LunDeviceSymlinkPath: filepath.Join(root, "dev/azure")})
	require.NoError(t, err)
	device, err := r.Resolve(t.Context(), settings.Disk{Lun: "3", Path: "/dev/x"})
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(root, "dev/sdc"), device)
	for _, lun := range []string{"4", "../sdc", ""} {
		device, err = r.Resolve(t.Context(), settings.Disk{Lun: lun, Path: "/dev/x"})
		require.NoError(t, err)
		assert.Equal(t, "/dev/x", device)
	}
}
