package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/deakit/deakit/internal/program"
)

// GrowFileSystem lets the kernel do it, for which the device is mounted at a place of its own for a moment: unlike
// what is done without the kernel, that survives being killed. A kernel that does not let us grow ext4, for want of
// CAP_SYS_RESOURCE, is done without.
func (l Linux) GrowFileSystem(ctx context.Context, device, fileSystem string) error {
	size, err := l.Size(ctx, device)
	if err != nil {
		return err
	}
	used, err := fileSystemSize(device, fileSystem)
	if err == nil && size-used < growth {
		return nil
	}
	if err == nil {
		err = l.growMounted(ctx, device, fileSystem)
	}
	if err != nil && fileSystem == "ext4" && ctx.Err() == nil {
		if fault := growUnmounted(ctx, device); fault == nil {
			return nil
		} else {
			err = errors.Join(err, fault)
		}
	}
	if err != nil {
		return fmt.Errorf("grow the file system of %s: %w", device, err)
	}
	return nil
}

func (l Linux) growMounted(ctx context.Context, device, fileSystem string) (err error) {
	dir, err := os.MkdirTemp("", "grow-")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	if err := l.Mount(ctx, device, dir, fileSystem, nil); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Unmount(context.WithoutCancel(ctx), dir)) }()
	if fileSystem == "ext4" {
		_, err = program.Run(ctx, "resize2fs", device)
	} else {
		_, err = program.Run(ctx, "xfs_growfs", dir)
	}
	return err
}

// growUnmounted checks the file system, without which resize2fs does nothing.
func growUnmounted(ctx context.Context, device string) error {
	_, err := program.Run(ctx, "e2fsck", "-f", "-p", device)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 { // errors, now corrected
		err = nil
	}
	if err == nil {
		_, err = program.Run(ctx, "resize2fs", device)
	}
	return err
}

// fileSystemSize reads how long a file system takes itself to be: ext4's superblock is 1024 bytes from the start, xfs's
// at the start.
func fileSystemSize(device, fileSystem string) (int64, error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	block := make([]byte, 1024)
	switch fileSystem {
	case "ext4":
		if _, err := f.ReadAt(block, 1024); err != nil {
			return 0, err
		}
		le := binary.LittleEndian
		count := uint64(le.Uint32(block[0x4:])) | uint64(le.Uint32(block[0x150:]))<<32
		return int64(count << (10 + le.Uint32(block[0x18:])&0xf)), nil
	case "xfs":
		if _, err := f.ReadAt(block, 0); err != nil {
			return 0, err
		}
		return int64(binary.BigEndian.Uint64(block[8:]) * uint64(binary.BigEndian.Uint32(block[4:]))), nil
	}
	return 0, fmt.Errorf("a file system %s is not grown, only ext4 and xfs", fileSystem)
}
