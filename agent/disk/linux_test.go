package disk_test

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
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/internal/needs"
)

// room returns the bytes of the file system at a directory.
func room(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &st))
	return int64(st.Blocks) * st.Bsize
}

// TestFileSystemsThatGrow with either kind of partition table.
func TestFileSystemsThatGrow(t *testing.T) {
	for name, test := range map[string]struct {
		env          settings.Env
		small, large int64
		table        string
	}{
		"ext4":           {env: settings.Env{}, small: 64, large: 128, table: "dos"},
		"ext4 by parted": {env: settings.Env{PersistentDiskPartitioner: "parted"}, small: 64, large: 128, table: "gpt"},
		"xfs":            {env: settings.Env{PersistentDiskFS: "xfs"}, small: 400, large: 500, table: "dos"},
	} {
		t.Run(name, func(t *testing.T) {
			machine := loops(t)
			for tool, pkg := range map[string]string{"parted": "parted", "mkfs.xfs": "xfsprogs", "xfs_growfs": "xfsprogs", "resize2fs": "e2fsprogs"} {
				needs.Tool(t, tool, pkg)
			}
			ctx, manager := t.Context(), machine.manager()
			device := machine.attach(test.small * mib)
			machine.settings = settings.Settings{Env: test.env, Disks: settings.Disks{Persistent: map[string]settings.Disk{"d": {CID: "d", Path: device}}}}
			require.NoError(t, manager.Mount(ctx, "d"))
			assert.Equal(t, test.table, strings.TrimSpace(run(t, "blkid", "-p", "-s", "PTTYPE", "-o", "value", device)))
			before := room(t, manager.Store())
			write(t, filepath.Join(manager.Store(), "data"), "precious")
			_, err := manager.Unmount(ctx, "d")
			require.NoError(t, err)

			machine.grow(device, test.large*mib)
			require.NoError(t, manager.Mount(ctx, "d"))
			assert.Greater(t, room(t, manager.Store()), before+(test.large-test.small)*mib*3/4)
			assert.Equal(t, "precious", read(t, filepath.Join(manager.Store(), "data")))
			_, err = manager.Unmount(ctx, "d")
			require.NoError(t, err)
			require.NoError(t, manager.Mount(ctx, "d"), "there is nothing to grow any more")
		})
	}
}

// TestDiskThatGrewHalf: the partition was grown by an agent that was killed then.
func TestDiskThatGrewHalf(t *testing.T) {
	machine := loops(t)
	ctx, manager := t.Context(), machine.manager()
	device := machine.disk("d")
	require.NoError(t, manager.Mount(ctx, "d"))
	before := room(t, manager.Store())
	_, err := manager.Unmount(ctx, "d")
	require.NoError(t, err)
	machine.grow(device, 128*mib)
	require.NoError(t, machine.system.GrowPartition(ctx, device))
	require.NoError(t, manager.Mount(ctx, "d"))
	assert.Greater(t, room(t, manager.Store()), before+48*mib)
}

// TestExtendedAttributesAndHoles come along.
func TestExtendedAttributesAndHoles(t *testing.T) {
	machine := loops(t)
	ctx, manager := t.Context(), machine.manager()
	machine.disk("old")
	machine.disk("new")
	require.NoError(t, manager.Mount(ctx, "old"))
	name := filepath.Join(manager.Store(), "data")
	write(t, name, "precious")
	require.NoError(t, unix.Setxattr(name, "user.origin", []byte("here"), 0))
	require.NoError(t, os.Truncate(name, 512*mib)) // more than there is
	require.NoError(t, os.Lchown(name, 1234, 4321))
	require.NoError(t, manager.Mount(ctx, "new"))
	require.NoError(t, manager.Migrate(ctx))

	var st unix.Stat_t
	require.NoError(t, unix.Stat(name, &st))
	assert.Equal(t, []uint32{1234, 4321}, []uint32{st.Uid, st.Gid})
	assert.Equal(t, int64(512*mib), st.Size)
	assert.Less(t, st.Blocks*512, int64(mib))
	value := make([]byte, 10)
	n, err := unix.Getxattr(name, "user.origin", value)
	require.NoError(t, err)
	assert.Equal(t, "here", string(value[:n]))
}

// TestMountOptions are those of the deployment, with a space in the name of a directory.
func TestMountOptions(t *testing.T) {
	machine := loops(t)
	machine.base += " of an agent"
	machine.disk("d")
	machine.settings.Env.PersistentDiskMountOptions = []string{"noatime", "ro"}
	ctx, manager := t.Context(), machine.manager()
	require.NoError(t, manager.Mount(ctx, "d"))
	mounts, err := machine.system.Mounts(ctx)
	require.NoError(t, err)
	last := mounts[len(mounts)-1]
	assert.Equal(t, manager.Store(), last.Dir)
	assert.Equal(t, "ext4", last.FileSystem)
	assert.True(t, last.ReadOnly)
	require.ErrorIs(t, os.WriteFile(filepath.Join(manager.Store(), "x"), nil, 0o600), unix.EROFS)
	_, err = manager.Unmount(ctx, "d")
	require.NoError(t, err)

	machine.settings.Env.PersistentDiskMountOptions = []string{"no-such-option"}
	require.ErrorContains(t, manager.Mount(ctx, "d"), "mount disk 'd': mount /dev/loop")
	assert.Empty(t, machine.mounted(manager.Store()))
}

// TestBusyDisk stays mounted as long as somebody uses it.
func TestBusyDisk(t *testing.T) {
	machine := loops(t)
	machine.disk("d")
	ctx, manager := t.Context(), machine.manager()
	require.NoError(t, manager.Mount(ctx, "d"))
	f, err := os.Create(filepath.Join(manager.Store(), "open"))
	require.NoError(t, err)
	_, err = manager.Unmount(ctx, "d")
	require.ErrorContains(t, err, "busy")
	assert.NotEmpty(t, machine.mounted(manager.Store()))
	require.NoError(t, f.Close())
	_, err = manager.Unmount(ctx, "d")
	require.NoError(t, err)
}

// TestOtherSignatures in a partition are not formatted over.
func TestOtherSignatures(t *testing.T) {
	machine := loops(t)
	mkswap := needs.Tool(t, "mkswap", "util-linux")
	device := machine.disk("d")
	ctx, manager := t.Context(), machine.manager()
	require.NoError(t, machine.system.CreatePartition(ctx, device, ""))
	run(t, mkswap, disk.PartitionPath(device, "1"))
	err := manager.Mount(ctx, "d")
	require.ErrorIs(t, err, disk.ErrForeign)
	require.ErrorContains(t, err, "is swap")

	require.ErrorContains(t, machine.system.CreatePartition(ctx, device, "fdisk"), "unknown partitioner")
	require.ErrorContains(t, machine.system.Format(ctx, device, "ntfs"), "unknown file system")
	_, err = machine.system.FileSystem(ctx, "/dev/no-such-device")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestSettingsOnMedia reads a config drive and a disc from real devices: a disc has ISO 9660, or ext4 where the kernel
// knows no ISO 9660.
func TestSettingsOnMedia(t *testing.T) {
	machine := loops(t)
	const document = `{"agent_id":"a","vm":{"name":"vm-17"}}`
	content := filepath.Join(t.TempDir(), "content")
	write(t, filepath.Join(content, "env"), document)
	write(t, filepath.Join(content, "ec2", "latest", "user-data"), document)
	write(t, filepath.Join(content, "ec2", "latest", "meta-data.json"), `{"public-keys":{"0":{"openssh-key":"ssh-rsa k"}}}`)

	drive := machine.attach(16 * mib)
	run(t, "mkfs.ext4", "-q", "-L", "config-2", "-d", content, drive)
	source := settings.ConfigDrive{DiskPaths: []string{"/dev/no-such-device", drive}, Mounter: machine.system,
		UserDataPath: "ec2/latest/user-data", MetaDataPath: "ec2/latest/meta-data.json"}
	s, err := source.Settings(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "vm-17", s.VM.Name)
	key, err := source.PublicSSHKey(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "ssh-rsa k", key)

	disc := machine.attach(16 * mib)
	if strings.Contains(read(t, "/proc/filesystems"), "iso9660") {
		image := filepath.Join(t.TempDir(), "env.iso")
		run(t, needs.Tool(t, "genisoimage", "genisoimage"), "-quiet", "-r", "-o", image, content)
		run(t, "dd", "if="+image, "of="+disc, "status=none")
	} else {
		run(t, "mkfs.ext4", "-q", "-d", content, disc)
	}
	s, err = settings.CDROM{Device: disc, Mounter: machine.system}.Settings(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "vm-17", s.VM.Name)
	_, err = settings.CDROM{Device: machine.attach(mib), Mounter: machine.system}.Settings(t.Context())
	require.ErrorContains(t, err, "mount /dev/loop")

	mounts, err := machine.system.Mounts(t.Context())
	require.NoError(t, err)
	for _, m := range mounts {
		assert.NotContains(t, []string{drive, disc}, m.Device, "still mounted")
	}
}

// TestDeviceByAnotherName is known by it, and not taken for an empty one.
func TestDeviceByAnotherName(t *testing.T) {
	machine := loops(t)
	device := machine.disk("d")
	name := filepath.Join(t.TempDir(), "by-id")
	require.NoError(t, os.Symlink(device, name))
	machine.settings.Disks.Persistent["d"] = settings.Disk{CID: "d", Path: name}
	ctx, manager := t.Context(), machine.manager()
	require.NoError(t, manager.Mount(ctx, "d"))
	write(t, filepath.Join(manager.Store(), "data"), "precious")
	list, err := manager.List(ctx)
	require.NoError(t, err)
	assert.Equal(t, []string{"d"}, list)
	_, err = manager.Unmount(ctx, "d")
	require.NoError(t, err)
	run(t, "partx", "--delete", device) // as after a start of the machine, with a kernel that does not look by itself
	require.NoError(t, manager.Mount(ctx, "d"))
	assert.Equal(t, "precious", read(t, filepath.Join(manager.Store(), "data")))
	parts, err := machine.system.Partitions(ctx, name)
	require.NoError(t, err)
	assert.Len(t, parts, 1)
}

// What is no disk is left as it is, and is made none: programs would make a loop device of a file, and leave it behind.
func TestNoBlockDevice(t *testing.T) {
	machine := loops(t)
	image := filepath.Join(t.TempDir(), "image")
	write(t, image, "precious")
	require.NoError(t, os.Truncate(image, 1<<30))
	machine.settings.Disks.Persistent = map[string]settings.Disk{"d": {CID: "d", Path: image}}
	require.ErrorIs(t, machine.manager().Mount(t.Context(), "d"), disk.ErrNoBlockDevice)
	linux, ctx := disk.Linux{}, t.Context()
	for _, device := range []string{image, "/dev/null"} {
		e := machine.ephemeral(`{}`)
		e.settings.Disks.Ephemeral.Path = device
		require.ErrorIs(t, e.Setup(ctx, e.settings), disk.ErrNoBlockDevice)
		_, err := linux.Partitions(ctx, device)
		require.ErrorIs(t, err, disk.ErrNoBlockDevice)
		require.ErrorIs(t, linux.CreatePartition(ctx, device, ""), disk.ErrNoBlockDevice)
		require.ErrorIs(t, linux.Format(ctx, device, "ext4"), disk.ErrNoBlockDevice)
		require.ErrorIs(t, linux.CreateTable(ctx, device, []disk.NewPartition{{Name: "a"}}), disk.ErrNoBlockDevice)
	}
	require.ErrorIs(t, linux.Mount(ctx, image, t.TempDir(), "ext4", nil), disk.ErrNoBlockDevice)
	assert.Empty(t, run(t, "losetup", "--associated", image))
	content, err := os.ReadFile(image)
	require.NoError(t, err)
	assert.Equal(t, "precious", strings.TrimRight(string(content[:4096]), "\x00"))
}

func TestPrograms(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := disk.Linux{}.FileSystem(t.Context(), "/dev/null")
	require.ErrorIs(t, err, exec.ErrNotFound)
	require.ErrorIs(t, disk.Linux{}.Copy(t.Context(), t.TempDir(), t.TempDir()), exec.ErrNotFound)
}

func TestCopyFails(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write(t, filepath.Join(from, "file"), "text")
	require.NoError(t, disk.Linux{}.Copy(t.Context(), from, to))
	assert.Equal(t, "text", read(t, filepath.Join(to, "file")))
	require.ErrorContains(t, disk.Linux{}.Copy(t.Context(), from+"x", to), "read: tar: exit status 2")
	require.ErrorContains(t, disk.Linux{}.Copy(t.Context(), from, to+"x"), "write: tar: exit status 2")
}

func TestPartitionPath(t *testing.T) {
	for device, want := range map[string]string{
		"/dev/sdb": "/dev/sdb1", "/dev/nvme0n1": "/dev/nvme0n1p1", "/dev/loop7": "/dev/loop7p1",
		"/dev/mapper/mpath1": "/dev/mapper/mpath1-part1", "/dev/xvdf": "/dev/xvdf1",
	} {
		assert.Equal(t, want, disk.PartitionPath(device, "1"))
	}
}
