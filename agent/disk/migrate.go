package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/deakit/deakit/internal/atomicfile"
)

// copyMark is a file in the new disk from when it is being filled until it is at the store: what it holds until then is
// no more than a copy of what the old disk may change again.
const copyMark = ".migration-under-way"

// Migrate copies what is on the disk at the store to the one at the migration directory, and mounts that one at the
// store in its place. The old disk is only read, and not mounted afterwards. Whenever it fails or the machine stops, the old disk has
// all it had, and a new attempt begins anew.
func (m *Manager) Migrate(ctx context.Context) error {
	done, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := m.migrate(ctx); err != nil {
		return fmt.Errorf("migrate disk: %w", err)
	}
	return nil
}

func (m *Manager) migrate(ctx context.Context) error {
	mounts, err := m.cfg.System.Mounts(ctx)
	if err != nil {
		return err
	}
	_, haveOld := at(mounts, m.Store())
	to, haveNew := at(mounts, m.MigrationTarget())
	if !haveOld || !haveNew {
		return ErrNotMounted
	}
	cid, options, err := m.whose(ctx, to)
	if err != nil {
		return err
	}
	if err := m.copyReadOnly(ctx); err != nil {
		return err
	}
	if err := m.unmountBoth(ctx, to, options); err != nil {
		return err
	}
	// Until the new disk is on record, a restart would mount the old one; from then on, both are whole.
	if err := m.remember(m.Store(), cid); err != nil {
		return err
	}
	m.log.Info("disk.migrated", "cid", cid, "device", to.Device)
	if err := m.cfg.System.Mount(ctx, to.Device, m.Store(), to.FileSystem, options); err != nil {
		return err
	}
	return m.settle()
}

// unmountBoth unmounts both disks. If that fails they are where they were, and the store can be written to.
func (m *Manager) unmountBoth(ctx context.Context, to Mount, options []string) error {
	err := m.unmount(ctx, m.MigrationTarget())
	if err != nil {
		return errors.Join(err, m.remountWritable(ctx))
	}
	if err := m.unmount(ctx, m.Store()); err != nil {
		back := m.cfg.System.Mount(context.WithoutCancel(ctx), to.Device, m.MigrationTarget(), to.FileSystem, options)
		return errors.Join(err, back, m.remountWritable(ctx))
	}
	return nil
}

// remountWritable undoes what copyReadOnly has done, also when nobody waits any more.
func (m *Manager) remountWritable(ctx context.Context) error {
	return m.cfg.System.Mount(context.WithoutCancel(ctx), "", m.Store(), "", []string{"remount", "rw"})
}

// settle makes what is at the store a disk like any other.
func (m *Manager) settle() error {
	err := os.Remove(filepath.Join(m.Store(), copyMark))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EROFS) {
		return nil
	}
	return err
}

// whose returns the id of the disk that is mounted, and its options.
func (m *Manager) whose(ctx context.Context, mount Mount) (string, []string, error) {
	disks, err := m.known(ctx)
	if err != nil {
		return "", nil, err
	}
	for _, d := range disks {
		brief, cancel := context.WithTimeout(ctx, listPatience)
		device, err := m.cfg.Resolver.Resolve(brief, d.Disk)
		cancel()
		if err == nil && m.holds(device, mount) {
			return d.CID, d.MountOptions, nil
		}
	}
	return "", nil, fmt.Errorf("no disk that is known has the device %s at %s", mount.Device, mount.Dir)
}

// copyReadOnly makes the store read-only and copies it. If that fails the store can be written to as before.
func (m *Manager) copyReadOnly(ctx context.Context) error {
	err := m.persist(ctx, func() error {
		return m.cfg.System.Mount(ctx, "", m.Store(), "", []string{"remount", "ro"})
	})
	if err == nil {
		err = m.fill(ctx)
	}
	if err != nil {
		err = errors.Join(err, m.remountWritable(ctx))
	}
	return err
}

// fill copies the store. What an attempt that broke off left is removed first, as it may have been removed since from the
// old disk too; what else the new disk may hold stays.
func (m *Manager) fill(ctx context.Context) error {
	mark := filepath.Join(m.MigrationTarget(), copyMark)
	if _, err := os.Lstat(mark); err == nil {
		if err := m.empty(); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(m.MigrationTarget())
	if err != nil {
		return err
	}
	fresh := !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != "lost+found" && e.Name() != copyMark })
	if fresh {
		if err := atomicfile.WriteFile(mark, nil, 0o600); err != nil {
			return err
		}
	}
	return m.cfg.System.Copy(ctx, m.Store(), m.MigrationTarget())
}

// empty removes all from the new disk but its mark, which goes on telling that nothing else was there.
func (m *Manager) empty() error {
	root, err := os.OpenRoot(m.MigrationTarget())
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == "lost+found" || entry.Name() == copyMark {
			continue
		}
		if err := root.RemoveAll(entry.Name()); err != nil {
			return err
		}
	}
	return nil
}
