package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/internal/atomicfile"
)

// Mount mounts a disk at the store, or at the migration directory if another one is at the store. An empty disk is
// partitioned and formatted first; one that has grown gets all of its room. A disk that is mounted stays as it is.
func (m *Manager) Mount(ctx context.Context, cid string) error {
	done, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	return m.mount(ctx, cid)
}

func (m *Manager) mount(ctx context.Context, cid string) error {
	d, device, err := m.find(ctx, cid)
	if err != nil {
		return err
	}
	mounts, err := m.cfg.System.Mounts(ctx)
	if err != nil {
		return fmt.Errorf("mount disk '%s': %w", cid, err)
	}
	dir := m.Store()
	if there, taken := at(mounts, dir); taken && !m.holds(device, there) {
		dir = m.MigrationTarget()
	}
	there, taken := at(mounts, dir)
	switch {
	case taken && m.holds(device, there):
		if err := m.writable(ctx, there, d.MountOptions); err != nil {
			return fmt.Errorf("mount disk '%s': %w", cid, err)
		}
		return m.mounted(dir, cid)
	case taken:
		return fmt.Errorf("mount disk '%s': both %s and %s have another disk: unmount one first", cid, m.Store(), dir)
	}
	if elsewhere := slices.IndexFunc(mounts, func(mount Mount) bool { return m.holds(device, mount) }); elsewhere >= 0 {
		return fmt.Errorf("mount disk '%s': it is mounted at %s: unmount it first", cid, mounts[elsewhere].Dir)
	}
	if err := m.prepareAndMount(ctx, d, device, dir); err != nil {
		return fmt.Errorf("mount disk '%s': %w", cid, err)
	}
	return m.mounted(dir, cid)
}

// mounted notes that a disk is mounted. What is at the store is in use from now on, whatever a migration has left there.
func (m *Manager) mounted(dir, cid string) error {
	if err := m.remember(dir, cid); err != nil || dir != m.Store() {
		return err
	}
	if err := m.settle(); err != nil {
		return fmt.Errorf("mount disk '%s': %w", cid, err)
	}
	return nil
}

// writable undoes what a migration that was killed has left.
func (m *Manager) writable(ctx context.Context, there Mount, options []string) error {
	if !there.ReadOnly || slices.Contains(options, "ro") {
		return nil
	}
	return m.cfg.System.Mount(ctx, "", there.Dir, "", []string{"remount", "rw"})
}

func (m *Manager) prepareAndMount(ctx context.Context, d settings.PersistentDisk, device, dir string) error {
	if !m.cfg.Preformatted {
		partition, err := m.prepare(ctx, d, device)
		if err != nil {
			return err
		}
		device = partition
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	fileSystem, err := m.cfg.System.FileSystem(ctx, device)
	if err != nil {
		return err
	}
	if !m.cfg.Preformatted {
		if err := m.cfg.System.GrowFileSystem(ctx, device, fileSystem); err != nil {
			return err
		}
	}
	if err := m.cfg.System.Mount(ctx, device, dir, fileSystem, d.MountOptions); err != nil {
		return err
	}
	m.log.Info("disk.mounted", "cid", d.CID, "device", device, "dir", dir)
	return nil
}

// prepare returns the partition of a disk, with a file system in it.
func (m *Manager) prepare(ctx context.Context, d settings.PersistentDisk, device string) (string, error) {
	parts, err := m.partitions(ctx, d, device)
	if err != nil {
		return "", err
	}
	partition := parts[0].Device
	fileSystem, err := m.cfg.System.FileSystem(ctx, partition)
	if err != nil {
		return "", err
	}
	switch fileSystem {
	case "ext4", "xfs":
		size, err := m.cfg.System.Size(ctx, device)
		if err != nil {
			return "", err
		}
		if len(parts) == 1 && parts[0].End > 0 && size-parts[0].End >= growth {
			m.log.Info("disk.grow", "cid", d.CID, "device", device, "bytes", size)
			return partition, m.cfg.System.GrowPartition(ctx, device)
		}
		return partition, nil
	case "":
		kind := d.FileSystem
		if kind == "" {
			kind = "ext4"
		}
		m.log.Info("disk.format", "cid", d.CID, "device", partition, "file_system", kind)
		return partition, m.cfg.System.Format(ctx, partition, kind)
	}
	return "", fmt.Errorf("%s is %s: %w", partition, fileSystem, ErrForeign)
}

// partitions makes one where there is none, and nothing else either.
func (m *Manager) partitions(ctx context.Context, d settings.PersistentDisk, device string) ([]Partition, error) {
	parts, err := m.cfg.System.Partitions(ctx, device)
	if err != nil || len(parts) > 0 {
		return parts, err
	}
	fileSystem, err := m.cfg.System.FileSystem(ctx, device)
	if err != nil {
		return nil, err
	}
	if fileSystem != "" {
		return nil, fmt.Errorf("%s is %s, without a partition: %w", device, fileSystem, ErrForeign)
	}
	m.log.Info("disk.partition", "cid", d.CID, "device", device)
	partitioner := d.Partitioner
	if partitioner == "" {
		partitioner = m.cfg.Partitioner
	}
	if err := m.cfg.System.CreatePartition(ctx, device, partitioner); err != nil {
		return nil, err
	}
	parts, err = m.cfg.System.Partitions(ctx, device)
	if err == nil && len(parts) == 0 {
		err = fmt.Errorf("%s has no partition after it was given one", device)
	}
	return parts, err
}

// Unmount unmounts a disk, wherever it is, and waits for those who use it. The message is for people.
func (m *Manager) Unmount(ctx context.Context, cid string) (message string, err error) {
	done, err := m.begin(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	d, device, err := m.find(ctx, cid)
	if err != nil {
		return "", err
	}
	// The original shows all settings of the disk, which may hold a password.
	shown := fmt.Sprintf("{ID:%s VolumeID:%s Path:%s}", d.CID, d.VolumeID, d.Path)
	unmounted := false
	for {
		mounts, err := m.cfg.System.Mounts(ctx)
		if err != nil {
			return "", fmt.Errorf("unmount disk '%s': %w", cid, err)
		}
		i := slices.IndexFunc(mounts, func(mount Mount) bool { return m.holds(device, mount) })
		if i < 0 {
			break
		}
		if err := m.unmount(ctx, mounts[i].Dir); err != nil {
			return "", fmt.Errorf("unmount disk '%s': %w", cid, err)
		}
		unmounted = true
	}
	if !unmounted {
		return "Partition of " + shown + " is not mounted", nil
	}
	return "Unmounted partition of " + shown, nil
}

// unmount tries as long as the disk may be in use.
func (m *Manager) unmount(ctx context.Context, dir string) error {
	return m.persist(ctx, func() error { return m.cfg.System.Unmount(ctx, dir) })
}

func (m *Manager) persist(ctx context.Context, what func() error) error {
	for try := 1; ; try++ {
		err := what()
		if err == nil || try >= m.cfg.UnmountTries {
			return err
		}
		if try == 1 { // whoever waits for a method wants to know why
			m.log.Warn("disk.busy", "error", err, "waiting_up_to", time.Duration(m.cfg.UnmountTries-1)*m.cfg.UnmountDelay, "remedy", "end what uses the directory")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, after: %w", context.Cause(ctx), err)
		case <-time.After(m.cfg.UnmountDelay):
		}
	}
}

// lastMounted is the file that has the bare id of the disk that is to be at the store (Go agent).
func (m *Manager) lastMounted() string {
	return filepath.Join(m.cfg.BaseDir, "bosh", "managed_disk_settings.json")
}

// remember notes which disk is at the store. One that is only to be migrated to is not yet whole.
func (m *Manager) remember(dir, cid string) error {
	if dir != m.Store() {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(m.lastMounted()), 0o755); err != nil {
		return err
	}
	return atomicfile.WriteFile(m.lastMounted(), []byte(cid), 0o600)
}

// LastMounted returns the id of the disk that was at the store last, "" if there was none.
func (m *Manager) LastMounted() (string, error) {
	data, err := os.ReadFile(m.lastMounted())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(data)), err
}

// MountAtBoot mounts the disk that was at the store before the machine was started again; on a new machine the only one
// there is, if there is one.
func (m *Manager) MountAtBoot(ctx context.Context) error {
	disks, err := m.known(ctx)
	if err != nil {
		return err
	}
	last, err := m.LastMounted()
	if err != nil {
		return err
	}
	switch {
	case len(disks) == 0:
		return nil
	case last == "" && len(disks) == 1:
		return m.Mount(ctx, disks[0].CID)
	case last == "":
		return ErrSeveral
	case !slices.ContainsFunc(disks, func(d settings.PersistentDisk) bool { return d.CID == last }):
		return fmt.Errorf("%w: disk '%s' is not attached", ErrDisagrees, last)
	}
	return m.Mount(ctx, last)
}
