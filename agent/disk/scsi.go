package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/deakit/deakit/agent/settings"
)

// SCSI looks for a disk by what is known of it: its device id, its unit number on the controller of the root disk
// (vSphere), or its LUN and the id of the host device (Azure).
type SCSI struct {
	Root string // before /dev and /sys; default none
}

const (
	scsiByID     = 50 * time.Second
	scsiByVolume = 15 * time.Second // 30 tries, half a second apart
)

// Resolve lets the controllers look for new disks and waits for this one.
func (s SCSI) Resolve(ctx context.Context, d settings.Disk) (string, error) {
	switch {
	case d.DeviceID != "":
		id := strings.ReplaceAll(d.DeviceID, "-", "")
		if err := plain(id); err != nil {
			return "", err
		}
		return s.find(ctx, "*", scsiByID, func() (string, error) { return one(s.Root + "/dev/disk/by-id/*" + id) })
	case d.VolumeID != "":
		return s.byVolume(ctx, d.VolumeID)
	case d.Lun != "" && d.HostDeviceID != "":
		if err := errors.Join(plain(d.Lun), plain(strings.Trim(d.HostDeviceID, "{}"))); err != nil {
			return "", err
		}
		return s.find(ctx, "*", scsiByID, func() (string, error) { return s.byLun(d.Lun, strings.Trim(d.HostDeviceID, "{}")) })
	}
	return "", errors.New("a SCSI disk needs an id, a volume_id, or a lun and a host_device_id")
}

// byVolume: the root disk is the unit 0 of its controller.
func (s SCSI) byVolume(ctx context.Context, unit string) (string, error) {
	if err := plain(unit); err != nil {
		return "", err
	}
	roots, err := filepath.Glob(s.Root + "/sys/bus/scsi/devices/*:0:0:0/block/*")
	if err != nil || len(roots) == 0 {
		return "", errors.Join(errors.New("there is no SCSI controller with a root disk"), err)
	}
	address := filepath.Base(filepath.Dir(filepath.Dir(roots[0])))
	host, _, _ := strings.Cut(address, ":")
	return s.find(ctx, "host"+host, scsiByVolume, func() (string, error) {
		return s.block(s.Root + "/sys/bus/scsi/devices/" + host + ":0:" + unit + ":0/block/*")
	})
}

// byLun looks at all disks with this LUN; that of the host device has the latter in its real path.
func (s SCSI) byLun(lun, hostDevice string) (string, error) {
	found, err := filepath.Glob(s.Root + "/sys/bus/scsi/devices/*:*:*:" + lun + "/block/*")
	if err != nil {
		return "", err
	}
	for _, path := range found {
		real, err := filepath.EvalSymlinks(path)
		if err == nil && strings.Contains(strings.ToLower(real), strings.ToLower(hostDevice)) {
			return s.Root + "/dev/" + filepath.Base(path), nil
		}
	}
	return "", fmt.Errorf("no disk with LUN %s at the host device %s", lun, hostDevice)
}

func (s SCSI) block(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d devices are like %s", len(found), pattern)
	}
	return s.Root + "/dev/" + filepath.Base(found[0]), nil
}

func (s SCSI) find(ctx context.Context, hosts string, patience time.Duration, look func() (string, error)) (string, error) {
	if device, err := look(); err == nil {
		return device, nil
	}
	scans, err := filepath.Glob(s.Root + "/sys/class/scsi_host/" + hosts + "/scan")
	if err != nil {
		return "", err
	}
	for _, scan := range scans {
		if err := os.WriteFile(scan, []byte("- - -"), 0o200); err != nil {
			return "", fmt.Errorf("rescan: %w", err)
		}
	}
	return await(ctx, patience, look)
}
