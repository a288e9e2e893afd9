package disk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/internal/atomicfile"
)

// AddDynamic makes data/dynamic_disks/<cid> a link to the device of a disk. Nothing is formatted or mounted.
func (m *Manager) AddDynamic(ctx context.Context, cid string, d settings.Disk) error {
	if err := plain(cid); err != nil {
		return fmt.Errorf("add dynamic disk: %w", err)
	}
	d.CID = cid
	device, err := m.cfg.Resolver.Resolve(ctx, d)
	if err == nil {
		err = link(m.dynamicDir(), cid, device)
	}
	if err != nil {
		return fmt.Errorf("add dynamic disk '%s': %w", cid, err)
	}
	return nil
}

// RemoveDynamic removes that link. That there is none is no error.
func (m *Manager) RemoveDynamic(cid string) error {
	if err := plain(cid); err != nil {
		return fmt.Errorf("remove dynamic disk: %w", err)
	}
	err := os.Remove(filepath.Join(m.dynamicDir(), cid))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove dynamic disk: %w", err)
	}
	return nil
}

func (m *Manager) dynamicDir() string { return filepath.Join(m.cfg.BaseDir, "data", "dynamic_disks") }

// CheckAssociations fails as Associate would where a name cannot be used or a disk is not there, and changes nothing.
func (m *Manager) CheckAssociations(ctx context.Context, associations []settings.DiskAssociation) error {
	_, err := m.devices(ctx, associations)
	return err
}

// devices finds the device for each name.
func (m *Manager) devices(ctx context.Context, associations []settings.DiskAssociation) (map[string]string, error) {
	found := map[string]string{}
	for _, a := range associations {
		if err := plain(a.Name); err != nil {
			return nil, fmt.Errorf("associate disk: %w", err)
		}
		_, device, err := m.find(ctx, a.CID)
		if err != nil {
			return nil, fmt.Errorf("associate disk '%s': %w", a.Name, err)
		}
		found[a.Name] = device
	}
	return found, nil
}

// Associate makes instance/disks/<name> links to the devices of persistent disks, in place of all that were there.
func (m *Manager) Associate(ctx context.Context, associations []settings.DiskAssociation) error {
	dir := filepath.Join(m.cfg.BaseDir, "instance", "disks")
	wanted, err := m.devices(ctx, associations)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("associate disks: %w", err)
	}
	for _, entry := range entries {
		if _, keep := wanted[entry.Name()]; keep {
			continue
		}
		if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
			return fmt.Errorf("associate disks: %w", err)
		}
	}
	for name, device := range wanted {
		if err := link(dir, name, device); err != nil {
			return fmt.Errorf("associate disk '%s': %w", name, err)
		}
	}
	return nil
}

// link makes dir/name lead to target, at once in place of what was there.
func link(dir, name, target string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	temp := atomicfile.TempPrefix + rand.Text()
	if err := root.Symlink(target, temp); err != nil {
		return err
	}
	if err := root.Rename(temp, name); err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	return nil
}
