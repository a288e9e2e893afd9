package rootfs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/diskusage"
)

// A DiskMode tells where writable layers stand.
type DiskMode string

// The modes.
const (
	// DiskDirectory: in a directory of the depot. A limit is not enforced.
	DiskDirectory DiskMode = "directory"
	// DiskLoop: in an ext4 file system of its own, in a sparse file of the depot.
	DiskLoop DiskMode = "loop"
	// DiskMemory: in memory (tmpfs), which counts for the control group that first writes it: that of the container, or,
	// of what is streamed in, that of this process.
	DiskMemory DiskMode = "memory"
)

// A Disk is where the writable layer of one container stands.
type Disk struct {
	Mode DiskMode
	dir  string // of the container
	loop string // name of the loop device, "loop7"
	// base is what the empty file system takes, in bytes.
	base int64
}

// DiskConfig tells about disks.
type DiskConfig struct {
	Mode DiskMode
	// MaxBytes is the size of a disk without a limit, and the most that a limit can be. The files are sparse.
	MaxBytes int64
	// Templates is the directory for empty file systems, which disks are copies of.
	Templates string
}

// MakeDisk makes and mounts the disk of a container, and on it the empty writable layer. What is left when it fails
// Unmount and removing the directory take away.
func MakeDisk(ctx context.Context, cfg DiskConfig, dir string, limits container.Limits) (*Disk, error) {
	d := &Disk{Mode: cfg.Mode, dir: dir}
	at := filepath.Join(dir, diskName)
	if err := os.Mkdir(at, 0o700); err != nil {
		return nil, err
	}
	var err error
	switch cfg.Mode {
	case DiskLoop:
		err = d.mountLoop(ctx, cfg, limits)
	case DiskMemory:
		err = unix.Mount("tmpfs", at, "tmpfs", mountFlags, memoryOptions(cfg.MaxBytes, limits)+",mode=0700")
	}
	if err != nil {
		return nil, fmt.Errorf("make the disk: %w", err)
	}
	if err := os.Mkdir(Upper(dir), 0o755); err != nil {
		return nil, err
	}
	if cfg.Mode != DiskDirectory {
		if d.base, err = d.taken(); err != nil {
			return nil, err
		}
	}
	return d, d.limit(cfg, limits)
}

// OpenDisk returns the disk of a container that an earlier back end made.
func OpenDisk(cfg DiskConfig, dir string, base int64) (*Disk, error) {
	d := &Disk{Mode: cfg.Mode, dir: dir, base: base}
	if cfg.Mode == DiskLoop {
		var err error
		if d.loop, err = loopOf(filepath.Join(dir, diskName)); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Base is what the empty file system takes: Used counts from there. OpenDisk wants it.
func (d *Disk) Base() int64 { return d.base }

// memoryOptions are the options of a file system in memory.
func memoryOptions(maxBytes int64, limits container.Limits) string {
	size := maxBytes
	if limits.DiskBytes > 0 {
		size = min(size, limits.DiskBytes)
	}
	// One inode more for each of the directories that the layer needs itself.
	inodes := "0" // no limit
	if limits.DiskInodes > 0 {
		inodes = strconv.FormatInt(limits.DiskInodes, 10)
	}
	return fmt.Sprintf("size=%d,nr_inodes=%s", size, inodes)
}

// SetLimits replaces the limits, as far as the mode goes.
func (d *Disk) SetLimits(cfg DiskConfig, limits container.Limits) error {
	if err := d.limit(cfg, limits); err != nil {
		return fmt.Errorf("set disk limit: %w", err)
	}
	return nil
}

func (d *Disk) limit(cfg DiskConfig, limits container.Limits) error {
	switch d.Mode {
	case DiskLoop:
		return d.limitLoop(limits.DiskBytes)
	case DiskMemory:
		at := filepath.Join(d.dir, diskName)
		return unix.Mount("", at, "", unix.MS_REMOUNT|mountFlags, memoryOptions(cfg.MaxBytes, limits))
	}
	return nil
}

// taken returns what the files of the disk take, in bytes, with those of the file system itself.
func (d *Disk) taken() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Join(d.dir, diskName), &st); err != nil {
		return 0, err
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize, nil
}

// Used returns what the writable layer takes, in bytes.
func (d *Disk) Used(ctx context.Context) (int64, error) {
	if d.Mode == DiskDirectory {
		dir, err := os.Open(Upper(d.dir))
		if err != nil {
			return 0, err
		}
		return diskusage.Of(ctx, dir)
	}
	taken, err := d.taken()
	return max(taken-d.base, 0), err
}
