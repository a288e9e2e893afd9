package disk

import (
	"errors"
	"fmt"
	"os"
)

// ErrNoBlockDevice: a path that is to be a disk is something else. Programs would make a loop device of a file, and leave that behind.
var ErrNoBlockDevice = errors.New("it is no block device: name the device of a disk, such as /dev/sdb")

// needBlock refuses what is no block device.
func needBlock(device string) error {
	info, err := os.Stat(device)
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeDevice == 0 || info.Mode()&os.ModeCharDevice != 0 {
		return fmt.Errorf("%s: %w", device, ErrNoBlockDevice)
	}
	return nil
}

// refuseFile is for what may also be mounted without a device.
func refuseFile(device string) error {
	if info, err := os.Stat(device); err == nil && info.Mode().IsRegular() {
		return fmt.Errorf("%s: %w", device, ErrNoBlockDevice)
	}
	return nil
}
