package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/deakit/deakit/agent/settings"
)

// Config says whose disks a [Manager] manages.
type Config struct {
	System   System
	Resolver Resolver
	BaseDir  string // of the agent; /var/vcap
	HintsDir string // of persistent_disk_hints.json, which may hold passwords; default BaseDir/bosh

	// Settings loads the settings anew: a disk may have been attached since.
	Settings func(context.Context) (*settings.Settings, error)

	Partitioner  string // parted; default to choose by size. That of the disk's settings comes first.
	Preformatted bool   // disks have no partitions, but a file system, which is not grown

	UnmountTries int           // default 600
	UnmountDelay time.Duration // between them; default 1 s; negative for none
	Logger       *slog.Logger  // nil discards
}

// A Manager manages the persistent disks of one agent. Its methods may be called from several goroutines at once; what
// changes mounts is done one after another.
type Manager struct {
	cfg   Config
	log   *slog.Logger
	turn  chan struct{} // holds a token while mounts are changed
	hints *hints
}

// Errors of a Manager.
var (
	// ErrForeign: a disk holds what nobody here put there. It is not formatted.
	ErrForeign = errors.New("the disk holds something that is not ours: empty it if it can be lost")
	// ErrSeveral: there are several persistent disks and none of them was mounted before.
	ErrSeveral = errors.New("Fatal: more than one persistent disk on boot") //nolint:staticcheck // text of the original
	// ErrDisagrees: the disk that was mounted last is not attached.
	ErrDisagrees = errors.New("Attached disk disagrees with previous mount") //nolint:staticcheck // text of the original
	// ErrNotMounted: a migration needs the old disk at the store and the new one at the migration directory.
	ErrNotMounted = errors.New("mount both the old and the new disk first")
)

// An UnknownError names a disk of which neither the settings nor a hint know. Its text is that of the original.
type UnknownError struct{ CID string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("Persistent disk with volume id '%s' could not be found", e.CID)
}

// New returns a manager. It touches nothing yet.
func New(cfg Config) (*Manager, error) {
	if cfg.System == nil || cfg.Resolver == nil || cfg.Settings == nil || !filepath.IsAbs(cfg.BaseDir) {
		return nil, errors.New("disk: a manager needs a System, a Resolver, Settings, and an absolute BaseDir")
	}
	cfg.UnmountTries = max(1, cmp.Or(cfg.UnmountTries, 600))
	cfg.UnmountDelay = cmp.Or(cfg.UnmountDelay, time.Second)
	return &Manager{
		cfg: cfg, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)), turn: make(chan struct{}, 1),
		hints: &hints{path: filepath.Join(cmp.Or(cfg.HintsDir, filepath.Join(cfg.BaseDir, "bosh")), "persistent_disk_hints.json")},
	}, nil
}

// Store is where the persistent disk is mounted.
func (m *Manager) Store() string { return filepath.Join(m.cfg.BaseDir, "store") }

// MigrationTarget is where a second one is mounted.
func (m *Manager) MigrationTarget() string {
	return filepath.Join(m.cfg.BaseDir, "store_migration_target")
}

// begin waits for the turn; done gives it back.
func (m *Manager) begin(ctx context.Context) (done func(), err error) {
	select {
	case m.turn <- struct{}{}:
		return func() { <-m.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// known returns all persistent disks that settings and hints tell of, settings first, in the order of their ids.
func (m *Manager) known(ctx context.Context) ([]settings.PersistentDisk, error) {
	s, err := m.cfg.Settings(ctx)
	if err != nil {
		return nil, err
	}
	disks, err := m.hints.read()
	if err != nil {
		return nil, err
	}
	for cid := range s.Disks.Persistent {
		disks[cid], _ = s.PersistentDisk(cid)
	}
	var list []settings.PersistentDisk
	for _, d := range disks {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b settings.PersistentDisk) int { return cmp.Compare(a.CID, b.CID) })
	return list, nil
}

// find returns one of the known disks and its device.
func (m *Manager) find(ctx context.Context, cid string) (settings.PersistentDisk, string, error) {
	disks, err := m.known(ctx)
	if err != nil {
		return settings.PersistentDisk{}, "", err
	}
	i := slices.IndexFunc(disks, func(d settings.PersistentDisk) bool { return d.CID == cid })
	if i < 0 {
		return settings.PersistentDisk{}, "", &UnknownError{cid}
	}
	device, err := m.cfg.Resolver.Resolve(ctx, disks[i].Disk)
	if err != nil {
		return settings.PersistentDisk{}, "", fmt.Errorf("find the device of disk '%s': %w", cid, err)
	}
	return disks[i], device, nil
}

// listPatience is how long List waits for the device of a disk. One that is mounted has its device.
const listPatience = 2 * time.Second

// List returns the ids of the known disks that are mounted, anywhere.
func (m *Manager) List(ctx context.Context) ([]string, error) {
	disks, err := m.known(ctx)
	if err != nil {
		return nil, fmt.Errorf("list disks: %w", err)
	}
	mounts, err := m.cfg.System.Mounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("list disks: %w", err)
	}
	mounted := []string{}
	for _, d := range disks {
		brief, cancel := context.WithTimeout(ctx, listPatience)
		device, err := m.cfg.Resolver.Resolve(brief, d.Disk)
		cancel()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("list disks: %w", context.Cause(ctx))
		}
		if err != nil {
			m.log.Debug("disk.no_device", "cid", d.CID, "error", err)
			continue
		}
		if slices.ContainsFunc(mounts, func(mount Mount) bool { return m.holds(device, mount) }) {
			mounted = append(mounted, d.CID)
		}
	}
	return mounted, nil
}

// holds tells whether what is mounted is on a device.
func (m *Manager) holds(device string, mount Mount) bool {
	if m.cfg.Preformatted {
		return mount.Device == device
	}
	return mount.Device == PartitionPath(device, "1")
}

// at returns what is mounted at a directory: the last of it, which hides what was there before.
func at(mounts []Mount, dir string) (Mount, bool) {
	for _, mount := range slices.Backward(mounts) {
		if mount.Dir == dir {
			return mount, true
		}
	}
	return Mount{}, false
}
