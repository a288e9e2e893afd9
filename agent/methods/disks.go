package methods

import (
	"context"
	"errors"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/settings"
)

func (m *Machine) diskMethods() []action.Method {
	if m.Disks == nil {
		return nil
	}
	return []action.Method{
		{Name: "list_disk", Async: true, AsyncSince: 3, Do: m.listDisks},
		{Name: "mount_disk", Async: true, Do: m.mountDisk},
		{Name: "unmount_disk", Async: true, Do: m.unmountDisk},
		{Name: "migrate_disk", Async: true, Do: m.migrateDisk},
		{Name: "add_persistent_disk", Async: true, Do: m.addPersistentDisk},
		{Name: "remove_persistent_disk", Async: true, Do: m.removePersistentDisk},
		{Name: "add_dynamic_disk", Async: true, Do: m.addDynamicDisk},
		{Name: "remove_dynamic_disk", Do: m.removeDynamicDisk},
	}
}

// none is the result {}.
type none = struct{}

func (m *Machine) listDisks(ctx context.Context) ([]string, error) {
	cids, err := m.Disks.List(ctx)
	if cids == nil {
		cids = []string{} // no null
	}
	return cids, err
}

func (m *Machine) mountDisk(ctx context.Context, cid string) (none, error) {
	return alone(ctx, m, func() (none, error) { return none{}, m.Disks.Mount(ctx, cid) })
}

// Unmounted is the result of unmount_disk, for people.
type Unmounted struct {
	Message string `json:"message"`
}

func (m *Machine) unmountDisk(ctx context.Context, cid string) (Unmounted, error) {
	return alone(ctx, m, func() (Unmounted, error) {
		message, err := m.Disks.Unmount(ctx, cid)
		return Unmounted{message}, err
	})
}

// migrateDisk takes no arguments: which disks they are is told by where they are mounted.
func (m *Machine) migrateDisk(ctx context.Context) (none, error) {
	return alone(ctx, m, func() (none, error) { return none{}, m.Disks.Migrate(ctx) })
}

// errNoHint: a director says nothing about a disk.
var errNoHint = errors.New("there is no hint where the disk is: give a device path, or an object")

func (m *Machine) addPersistentDisk(ctx context.Context, cid string, hint settings.Disk) (none, error) {
	if hint.IsZero() {
		return none{}, errNoHint
	}
	return none{}, m.Disks.AddPersistent(ctx, cid, hint)
}

func (m *Machine) removePersistentDisk(_ context.Context, cid string) (none, error) {
	return none{}, m.Disks.RemovePersistent(cid)
}

func (m *Machine) addDynamicDisk(ctx context.Context, cid string, hint settings.Disk) (none, error) {
	if hint.IsZero() {
		return none{}, errNoHint
	}
	return none{}, m.Disks.AddDynamic(ctx, cid, hint)
}

func (m *Machine) removeDynamicDisk(_ context.Context, cid string) (none, error) {
	return none{}, m.Disks.RemoveDynamic(cid)
}
