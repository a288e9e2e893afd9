package disk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/settings"
)

func write(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(text), 0o640))
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(data)
}

// TestLifeOfADisk is what a director does with one: a hint, mount, list, unmount, forget.
func TestLifeOfADisk(t *testing.T) {
	everywhere(t, func(t *testing.T, machine *machine) {
		ctx := t.Context()
		manager := machine.manager()
		device := machine.attach(64 * mib)
		partition := disk.PartitionPath(device, "1")

		var unknown *disk.UnknownError
		err := manager.Mount(ctx, "disk-1")
		require.ErrorAs(t, err, &unknown)
		assert.EqualError(t, unknown, "Persistent disk with volume id 'disk-1' could not be found")

		var hint settings.Disk
		require.NoError(t, json.Unmarshal([]byte(`{"path":"`+device+`","volume_id":"v"}`), &hint))
		require.NoError(t, manager.AddPersistent(ctx, "disk-1", hint))
		list, err := manager.List(ctx)
		require.NoError(t, err)
		assert.Equal(t, []string{}, list)

		require.NoError(t, manager.Mount(ctx, "disk-1"))
		assert.Equal(t, partition, machine.mounted(manager.Store()))
		kind, err := machine.system.FileSystem(ctx, partition)
		require.NoError(t, err)
		assert.Equal(t, "ext4", kind)
		list, err = manager.List(ctx)
		require.NoError(t, err)
		assert.Equal(t, []string{"disk-1"}, list)
		last, err := manager.LastMounted()
		require.NoError(t, err)
		assert.Equal(t, "disk-1", last)
		assert.Equal(t, "disk-1", read(t, filepath.Join(machine.base, "bosh", "managed_disk_settings.json")))

		write(t, filepath.Join(manager.Store(), "db", "data"), "precious")
		require.NoError(t, manager.Mount(ctx, "disk-1"), "where it is already")
		message, err := manager.Unmount(ctx, "disk-1")
		require.NoError(t, err)
		assert.Equal(t, "Unmounted partition of {ID:disk-1 VolumeID:v Path:"+device+"}", message)
		assert.Empty(t, machine.mounted(manager.Store()))
		message, err = manager.Unmount(ctx, "disk-1")
		require.NoError(t, err)
		assert.Equal(t, "Partition of {ID:disk-1 VolumeID:v Path:"+device+"} is not mounted", message)

		require.NoError(t, manager.Mount(ctx, "disk-1"), "again, without formatting it")
		assert.Equal(t, "precious", read(t, filepath.Join(manager.Store(), "db", "data")))
		_, err = manager.Unmount(ctx, "disk-1")
		require.NoError(t, err)
		require.NoError(t, manager.RemovePersistent("disk-1"))
		require.NoError(t, manager.RemovePersistent("disk-1"), "missing is fine")
		require.ErrorAs(t, manager.Mount(ctx, "disk-1"), &unknown)
		_, err = manager.Unmount(ctx, "disk-1")
		require.ErrorAs(t, err, &unknown)
	})
}

func TestMigrate(t *testing.T) {
	everywhere(t, func(t *testing.T, machine *machine) {
		ctx := t.Context()
		manager := machine.manager()
		before, after := machine.disk("before"), machine.disk("after")
		require.ErrorIs(t, manager.Migrate(ctx), disk.ErrNotMounted)
		require.NoError(t, manager.Mount(ctx, "before"))
		require.ErrorIs(t, manager.Migrate(ctx), disk.ErrNotMounted)

		store := manager.Store()
		write(t, filepath.Join(store, "db", "data"), "precious")
		require.NoError(t, os.Chmod(filepath.Join(store, "db"), os.ModeSetgid|0o750))
		require.NoError(t, os.Symlink("db/data", filepath.Join(store, "link")))
		require.NoError(t, os.Link(filepath.Join(store, "db", "data"), filepath.Join(store, "name")))
		require.NoError(t, os.Chtimes(filepath.Join(store, "db", "data"), time.Unix(1, 0), time.Unix(1e9, 0)))

		require.NoError(t, manager.Mount(ctx, "after"))
		assert.Equal(t, disk.PartitionPath(before, "1"), machine.mounted(store))
		assert.Equal(t, disk.PartitionPath(after, "1"), machine.mounted(manager.MigrationTarget()))
		last, err := manager.LastMounted()
		require.NoError(t, err)
		assert.Equal(t, "before", last, "the new one is not whole yet")
		machine.disk("third")
		require.ErrorContains(t, manager.Mount(ctx, "third"), "unmount one first")

		require.NoError(t, manager.Migrate(ctx))
		assert.Equal(t, disk.PartitionPath(after, "1"), machine.mounted(store))
		assert.Empty(t, machine.mounted(manager.MigrationTarget()))
		last, err = manager.LastMounted()
		require.NoError(t, err)
		assert.Equal(t, "after", last)

		assert.Equal(t, "precious", read(t, filepath.Join(store, "link")))
		info, err := os.Stat(filepath.Join(store, "db"))
		require.NoError(t, err)
		assert.Equal(t, os.ModeDir|os.ModeSetgid|0o750, info.Mode())
		data, err := os.Stat(filepath.Join(store, "db", "data"))
		require.NoError(t, err)
		assert.Equal(t, time.Unix(1e9, 0).UTC(), data.ModTime().UTC())
		name, err := os.Stat(filepath.Join(store, "name"))
		require.NoError(t, err)
		assert.True(t, os.SameFile(data, name))
		write(t, filepath.Join(store, "new"), "can be written to")
		assert.NoFileExists(t, filepath.Join(store, ".migration-under-way"))

		// The old one has all it had.
		_, err = manager.Unmount(ctx, "after")
		require.NoError(t, err)
		require.NoError(t, manager.Mount(ctx, "before"))
		assert.Equal(t, "precious", read(t, filepath.Join(store, "db", "data")))
		write(t, filepath.Join(store, "new"), "can be written to")
	})
}

func TestDiskThatHasGrown(t *testing.T) {
	everywhere(t, func(t *testing.T, machine *machine) {
		ctx := t.Context()
		manager := machine.manager()
		device := machine.disk("d")
		require.NoError(t, manager.Mount(ctx, "d"))
		write(t, filepath.Join(manager.Store(), "data"), "precious")
		_, err := manager.Unmount(ctx, "d")
		require.NoError(t, err)

		machine.grow(device, 128*mib)
		require.NoError(t, manager.Mount(ctx, "d"))
		assert.Equal(t, "precious", read(t, filepath.Join(manager.Store(), "data")))
		parts, err := machine.system.Partitions(ctx, device)
		require.NoError(t, err)
		assert.Equal(t, int64(128*mib), parts[0].End)
	})
}

// TestForeignDisks are not touched.
func TestForeignDisks(t *testing.T) {
	everywhere(t, func(t *testing.T, machine *machine) {
		ctx := t.Context()
		manager := machine.manager()
		device := machine.disk("d")
		require.NoError(t, machine.system.Format(ctx, device, "ext4"))
		require.ErrorIs(t, manager.Mount(ctx, "d"), disk.ErrForeign)
		kind, err := machine.system.FileSystem(ctx, device)
		require.NoError(t, err)
		assert.Equal(t, "ext4", kind)

		// Where disks are used as they come it is what is wanted.
		whole := machine.manager(func(c *disk.Config) { c.Preformatted = true })
		require.NoError(t, whole.Mount(ctx, "d"))
		assert.Equal(t, device, machine.mounted(whole.Store()))
		list, err := whole.List(ctx)
		require.NoError(t, err)
		assert.Equal(t, []string{"d"}, list)
		_, err = whole.Unmount(ctx, "d")
		require.NoError(t, err)
	})
}

func TestMountAtBoot(t *testing.T) {
	everywhere(t, func(t *testing.T, machine *machine) {
		ctx := t.Context()
		require.NoError(t, machine.manager().MountAtBoot(ctx), "no disks")
		one := machine.disk("one")
		require.NoError(t, machine.manager().MountAtBoot(ctx))
		assert.Equal(t, disk.PartitionPath(one, "1"), machine.mounted(machine.manager().Store()))
		require.NoError(t, machine.manager().MountAtBoot(ctx), "again, the agent alone was started")

		machine.disk("two")
		_, err := machine.manager().Unmount(ctx, "one")
		require.NoError(t, err)
		require.NoError(t, machine.manager().MountAtBoot(ctx))
		assert.Equal(t, disk.PartitionPath(one, "1"), machine.mounted(machine.manager().Store()), "the last one")
		_, err = machine.manager().Unmount(ctx, "one")
		require.NoError(t, err)

		delete(machine.settings.Disks.Persistent, "one")
		require.ErrorIs(t, machine.manager().MountAtBoot(ctx), disk.ErrDisagrees)
		machine.disk("three")
		require.NoError(t, os.Remove(filepath.Join(machine.base, "bosh", "managed_disk_settings.json")))
		require.ErrorIs(t, machine.manager().MountAtBoot(ctx), disk.ErrSeveral)
	})
}

// A faulty system fails as it is told to.
type faulty struct {
	disk.System
	busy     int // times that Unmount fails
	unmounts int
	stuck    string // that Unmount fails for, always
	copying  error
}

func (f *faulty) Unmount(ctx context.Context, dir string) error {
	if f.unmounts++; f.unmounts <= f.busy || dir == f.stuck {
		return errors.New("unmount " + dir + ": target is busy")
	}
	return f.System.Unmount(ctx, dir)
}

func (f *faulty) Copy(ctx context.Context, from, to string) error {
	if f.copying != nil {
		_ = os.WriteFile(filepath.Join(to, "half"), nil, 0o600)
		return f.copying
	}
	return f.System.Copy(ctx, from, to)
}

func TestUnmountWaits(t *testing.T) {
	machine := memory(t)
	machine.disk("d")
	require.NoError(t, machine.manager().Mount(t.Context(), "d"))
	system := &faulty{System: machine.system, busy: 1000}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		manager := machine.manager(func(c *disk.Config) {
			c.System, c.UnmountTries, c.UnmountDelay, c.Logger = system, 0, 0, slog.New(slog.NewTextHandler(&log, nil))
		})
		began := time.Now()
		_, err := manager.Unmount(t.Context(), "d")
		require.ErrorContains(t, err, "target is busy")
		assert.Equal(t, 600, system.unmounts)
		assert.Equal(t, 599*time.Second, time.Since(began))
		assert.Equal(t, 1, strings.Count(log.String(), "level=WARN msg=disk.busy"), "once")
		assert.Contains(t, log.String(), "waiting_up_to=9m59s")

		system.unmounts, system.busy = 0, 3
		began = time.Now()
		_, err = manager.Unmount(t.Context(), "d")
		require.NoError(t, err)
		assert.Equal(t, 3*time.Second, time.Since(began))

		// Who does not wait any more ends it; what comes meanwhile waits for its turn, and need not.
		require.NoError(t, manager.Mount(t.Context(), "d"))
		system.unmounts, system.busy = 0, 1000
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := manager.Unmount(ctx, "d")
			done <- err
		}()
		synctest.Wait()
		impatient, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		require.ErrorIs(t, manager.Mount(impatient, "d"), context.DeadlineExceeded)
		list, err := manager.List(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{"d"}, list, "nobody waits to look")
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

// TestMigrationThatFails leaves the old disk as it was, and can be tried again.
func TestMigrationThatFails(t *testing.T) {
	everywhere(t, func(t *testing.T, machine *machine) {
		ctx := t.Context()
		machine.disk("old")
		machine.disk("new")
		system := &faulty{System: machine.system, copying: errors.New("no space left on device")}
		manager := machine.manager(func(c *disk.Config) { c.System = system })
		require.NoError(t, manager.Mount(ctx, "old"))
		write(t, filepath.Join(manager.Store(), "data"), "precious")
		require.NoError(t, manager.Mount(ctx, "new"))
		require.ErrorIs(t, manager.Migrate(ctx), system.copying)
		write(t, filepath.Join(manager.Store(), "more"), "can be written to")
		assert.FileExists(t, filepath.Join(manager.MigrationTarget(), "half"))

		system.copying = nil
		require.NoError(t, manager.Migrate(ctx))
		assert.Equal(t, "precious", read(t, filepath.Join(manager.Store(), "data")))
		assert.Equal(t, "can be written to", read(t, filepath.Join(manager.Store(), "more")))
		assert.NoFileExists(t, filepath.Join(manager.Store(), "half"), "of the first attempt")
	})
}

// TestMigrationThatFailsAfterTheCopy leaves the old disk in use, and the copy counts for nothing.
func TestMigrationThatFailsAfterTheCopy(t *testing.T) {
	everywhere(t, func(t *testing.T, machine *machine) {
		ctx := t.Context()
		old, _ := machine.disk("old"), machine.disk("new")
		system := &faulty{System: machine.system}
		manager := machine.manager(func(c *disk.Config) { c.System, c.UnmountTries = system, 2 })
		require.NoError(t, manager.Mount(ctx, "old"))
		write(t, filepath.Join(manager.Store(), "data"), "precious")
		require.NoError(t, manager.Mount(ctx, "new"))
		for _, dir := range []string{manager.Store(), manager.MigrationTarget()} {
			passing := filepath.Join(manager.Store(), "passing")
			write(t, passing, "is gone when it is tried again")
			system.stuck = dir
			require.ErrorContains(t, manager.Migrate(ctx), "target is busy")
			assert.Equal(t, disk.PartitionPath(old, "1"), machine.mounted(manager.Store()))
			mounts, err := machine.system.Mounts(ctx)
			require.NoError(t, err)
			for _, mount := range mounts {
				assert.False(t, mount.Dir == manager.Store() && mount.ReadOnly)
			}
			require.NoError(t, os.Remove(passing))
		}
		system.stuck = ""
		require.NoError(t, manager.Migrate(ctx))
		assert.Equal(t, "precious", read(t, filepath.Join(manager.Store(), "data")))
		assert.NoFileExists(t, filepath.Join(manager.Store(), "passing"))
		assert.NoFileExists(t, filepath.Join(manager.Store(), ".migration-under-way"))
	})
}

func TestHintsFile(t *testing.T) {
	machine := memory(t)
	manager := machine.manager()
	machine.settings.Env = settings.Env{PersistentDiskFS: "xfs", PersistentDiskMountOptions: []string{"noatime"}, PersistentDiskPartitioner: "parted"}
	require.NoError(t, manager.AddPersistent(t.Context(), "d", settings.Disk{Path: "/dev/sdb", VolumeID: "v", ISCSI: settings.ISCSI{Target: "t"}}))
	file := filepath.Join(machine.base, "bosh", "persistent_disk_hints.json")
	assert.JSONEq(t, `{"d":{"ID":"d","DeviceID":"","VolumeID":"v","Lun":"","HostDeviceID":"","Path":"/dev/sdb",
		"ISCSISettings":{"InitiatorName":"","Username":"","Target":"t","Password":""},
		"FileSystemType":"xfs","MountOptions":["noatime"],"Partitioner":"parted"}}`, read(t, file))

	require.Error(t, manager.AddPersistent(t.Context(), "", settings.Disk{Path: "/dev/sdb"}))
	require.Error(t, manager.AddPersistent(t.Context(), "d", settings.Disk{}))
	write(t, file, "{")
	require.ErrorContains(t, manager.Mount(t.Context(), "d"), "persistent_disk_hints.json")
	require.ErrorContains(t, manager.Mount(t.Context(), "d"), "mend the file, or remove it")
	require.Error(t, manager.RemovePersistent("d"), "what cannot be read is not overwritten")
	assert.Equal(t, "{", read(t, file))
}

func TestLinks(t *testing.T) {
	machine := memory(t)
	ctx, manager := t.Context(), machine.manager()
	dynamic := filepath.Join(machine.base, "data", "dynamic_disks")
	for _, device := range []string{"/dev/sdx", "/dev/sdy"} {
		require.NoError(t, manager.AddDynamic(ctx, "disk-1", settings.Disk{Path: device}))
		target, err := os.Readlink(filepath.Join(dynamic, "disk-1"))
		require.NoError(t, err)
		assert.Equal(t, device, target)
	}
	for _, cid := range []string{"", "..", "../x", "a/b"} {
		require.ErrorContains(t, manager.AddDynamic(ctx, cid, settings.Disk{Path: "/dev/sdx"}), "no id of a disk")
		require.ErrorContains(t, manager.RemoveDynamic(cid), "no id of a disk")
	}
	require.ErrorIs(t, manager.AddDynamic(ctx, "disk-2", settings.Disk{}), disk.ErrNoPath)
	require.NoError(t, manager.RemoveDynamic("disk-1"))
	require.NoError(t, manager.RemoveDynamic("disk-1"))
	entries, err := os.ReadDir(dynamic)
	require.NoError(t, err)
	assert.Empty(t, entries)

	device := machine.disk("disk-3")
	type association = settings.DiskAssociation
	require.NoError(t, manager.Associate(ctx, []association{{Name: "db", CID: "disk-3"}, {Name: "log", CID: "disk-3"}}))
	require.NoError(t, manager.Associate(ctx, []association{{Name: "db", CID: "disk-3"}}))
	target, err := os.Readlink(filepath.Join(machine.base, "instance", "disks", "db"))
	require.NoError(t, err)
	assert.Equal(t, device, target)
	assert.NoFileExists(t, filepath.Join(machine.base, "instance", "disks", "log"))
	var unknown *disk.UnknownError
	require.ErrorAs(t, manager.Associate(ctx, []association{{Name: "db", CID: "nowhere"}}), &unknown)
	require.ErrorContains(t, manager.Associate(ctx, []association{{Name: "../db", CID: "disk-3"}}), "no id of a disk")
}

// TestMemoryTellsDevicesApart whose names are alike.
func TestMemoryTellsDevicesApart(t *testing.T) {
	m, err := disk.NewMemory(filepath.Join(t.TempDir(), "disks"))
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "store")
	for i, device := range []string{"/dev/a/b", "/dev/a_b", "/dev/a%2Fb"} {
		require.NoError(t, m.Attach(device, mib))
		require.NoError(t, m.Format(t.Context(), device, "ext4"))
		require.NoError(t, m.Mount(t.Context(), device, dir, "ext4", nil))
		write(t, filepath.Join(dir, fmt.Sprint(i)), "precious")
		require.NoError(t, m.Unmount(t.Context(), dir))
	}
	require.NoError(t, m.Mount(t.Context(), "/dev/a/b", dir, "ext4", nil))
	assert.Equal(t, "precious", read(t, filepath.Join(dir, "0")))
}

// TestMemoryGoesOn after a restart.
func TestMemoryGoesOn(t *testing.T) {
	machine := memory(t)
	machine.disk("d")
	manager := machine.manager()
	require.NoError(t, manager.Mount(t.Context(), "d"))
	write(t, filepath.Join(manager.Store(), "data"), "precious")

	again, err := disk.NewMemory(filepath.Join(filepath.Dir(machine.base), "disks"))
	require.NoError(t, err)
	machine.system = again
	manager = machine.manager()
	list, err := manager.List(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"d"}, list)
	_, err = manager.Unmount(t.Context(), "d")
	require.NoError(t, err)
	assert.NoFileExists(t, filepath.Join(manager.Store(), "data"))
	require.NoError(t, manager.Mount(t.Context(), "d"))
	assert.Equal(t, "precious", read(t, filepath.Join(manager.Store(), "data")))
}
