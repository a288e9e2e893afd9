package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/internal/atomicfile"
)

// hints are what a director said about disks that were attached after the settings were made. The file has the form of
// the Go agent.
type hints struct {
	path string
	mu   sync.Mutex
}

type hint struct {
	ID, DeviceID, VolumeID, Lun, HostDeviceID, Path string

	ISCSISettings  settings.ISCSI
	FileSystemType string
	MountOptions   []string
	Partitioner    string
}

func newHint(d settings.PersistentDisk) hint {
	return hint{d.CID, d.DeviceID, d.VolumeID, d.Lun, d.HostDeviceID, d.Path, d.ISCSI, d.FileSystem, d.MountOptions, d.Partitioner}
}

func (h hint) disk(cid string) settings.PersistentDisk {
	return settings.PersistentDisk{
		Disk: settings.Disk{CID: cid, Path: h.Path, VolumeID: h.VolumeID, DeviceID: h.DeviceID, Lun: h.Lun,
			HostDeviceID: h.HostDeviceID, ISCSI: h.ISCSISettings},
		FileSystem: h.FileSystemType, MountOptions: h.MountOptions, Partitioner: h.Partitioner,
	}
}

func (h *hints) read() (map[string]settings.PersistentDisk, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	stored, err := h.load()
	disks := map[string]settings.PersistentDisk{}
	for cid, hint := range stored {
		disks[cid] = hint.disk(cid)
	}
	return disks, err
}

func (h *hints) load() (map[string]hint, error) {
	stored := map[string]hint{}
	data, err := os.ReadFile(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return stored, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &stored)
	}
	if err != nil {
		return nil, fmt.Errorf("hints about disks, %s: %w: mend the file, or remove it and have the director add the disks again", h.path, err)
	}
	if stored == nil { // null
		stored = map[string]hint{}
	}
	return stored, nil
}

func (h *hints) change(what func(map[string]hint)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	stored, err := h.load()
	if err != nil {
		return err
	}
	what(stored)
	data, err := json.Marshal(stored)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(h.path), 0o755)
	}
	if err == nil {
		err = atomicfile.WriteFile(h.path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep hints about disks: %w", err)
	}
	return nil
}

// AddPersistent notes where a disk is that was attached later. The settings are loaded for the file system and the mount
// options that hold for it.
func (m *Manager) AddPersistent(ctx context.Context, cid string, d settings.Disk) error {
	if cid == "" || d.IsZero() {
		return errors.New("add persistent disk: give its id, and a hint about its device")
	}
	s, err := m.cfg.Settings(ctx)
	if err != nil {
		return fmt.Errorf("add persistent disk '%s': %w", cid, err)
	}
	d.CID = cid
	return m.hints.change(func(stored map[string]hint) { stored[cid] = newHint(s.PersistentDiskFrom(d)) })
}

// RemovePersistent forgets where a disk is. That nothing was known is no error.
func (m *Manager) RemovePersistent(cid string) error {
	return m.hints.change(func(stored map[string]hint) { delete(stored, cid) })
}
