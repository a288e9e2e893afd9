package disk

import (
	"context"
	"strings"
)

// A System is the disks and the mounts of a machine. Devices and directories are absolute paths.
type System interface {
	// Size returns the bytes of a device.
	Size(ctx context.Context, device string) (int64, error)

	// Partitions returns the partitions of a device in the order of their numbers; none is no error.
	Partitions(ctx context.Context, device string) ([]Partition, error)

	// CreatePartition puts a table with one Linux partition over all of the device. The partitioner is "parted", or ""
	// to choose by size. What the device held is lost.
	CreatePartition(ctx context.Context, device, partitioner string) error

	// GrowPartition makes the only partition of a device end where the device does. It is not mounted.
	GrowPartition(ctx context.Context, device string) error

	// FileSystem names what a device or partition holds, "" if nothing: ext4, xfs, swap, LVM2_member, ...
	FileSystem(ctx context.Context, device string) (string, error)

	// Format makes a file system, ext4 or xfs, or swap. What the device held is lost.
	Format(ctx context.Context, device, fileSystem string) error

	// GrowFileSystem makes a file system, ext4 or xfs, fill its device, which is not mounted. Where it does, give or take
	// 16 MiB, nothing happens.
	GrowFileSystem(ctx context.Context, device, fileSystem string) error

	// Mount mounts a device, with a file system that is found out if it is "". With the option "remount" it changes the
	// options of what is mounted at dir.
	Mount(ctx context.Context, device, dir, fileSystem string, options []string) error

	// Unmount unmounts what is mounted at dir, last.
	Unmount(ctx context.Context, dir string) error

	// Mounts returns all that is mounted, in order.
	Mounts(ctx context.Context) ([]Mount, error)

	// Copy copies all that a directory holds into another one, over what is there: with owners, modes, times, links,
	// extended attributes and holes. When it returns nil all is on disk.
	Copy(ctx context.Context, from, to string) error
}

// An EphemeralSystem can also set up an ephemeral disk.
type EphemeralSystem interface {
	System

	// Table returns the partitions of a device with their names, in the order of their numbers, as they are in its GUID
	// partition table. A device without one has none, whatever else it holds.
	Table(ctx context.Context, device string) ([]Partition, error)

	// CreateTable puts a GUID partition table on a device. What the device held, and its partitions, is lost. It fails when
	// any of that is in use.
	CreateTable(ctx context.Context, device string, partitions []NewPartition) error

	// AppendPartitions adds partitions behind the last one of a device, of which others may be in use. What was found where they are
	// is removed. In a table that has no names they have none.
	AppendPartitions(ctx context.Context, device string, partitions []NewPartition) error

	// Whole returns the device that has a partition; it fails for what is no partition.
	Whole(ctx context.Context, partition string) (device string, err error)

	// SwapOn has the machine swap to a device that Format has made swap.
	SwapOn(ctx context.Context, device string) error

	// Swaps returns the devices and files that the machine swaps to.
	Swaps(ctx context.Context) ([]string, error)
}

// A Partition is a part of a device.
type Partition struct {
	Device string
	End    int64  // byte after the last one, from the start of the whole device; 0 if it is not known
	Name   string // in a GUID table; only Table tells it
}

// A NewPartition is one that is to be made. They follow one another.
type NewPartition struct {
	Name string // 36 letters, digits, '.', '_' and '-' at most
	Size int64  // bytes, of which whole MiB count; 0 for what is left, of the last one only
	Swap bool

	start int64 // bytes from the start of the device; 0 for behind the one before
}

// A Mount is what is mounted where.
type Mount struct {
	Device, Dir, FileSystem string

	ReadOnly bool
}

// growth is the room that a disk must have gained to be worth growing into. Tables and alignment take less.
const growth = 16 << 20

// PartitionPath is the path of the partition of a device: /dev/sdb1, /dev/nvme0n1p1, /dev/mapper/x-part1.
func PartitionPath(device string, number string) string {
	switch last := device[len(device)-1]; {
	case strings.HasPrefix(device, "/dev/mapper/"):
		return device + "-part" + number
	case last >= '0' && last <= '9':
		return device + "p" + number
	}
	return device + number
}
