package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deakit/deakit/internal/program"
)

// Linux is this machine. It runs blkid, mount, umount, partx, sfdisk, tar, for large disks parted, for file systems
// mkfs.ext4 and resize2fs, or mkfs.xfs and xfs_growfs, and for swap mkswap and swapon; for most of it it needs root. The
// zero value is ready.
type Linux struct{}

const (
	sectorSize = 512
	largeDisk  = 2 << 40 // what the tables of sfdisk's default cannot address
	nodeTries  = 100     // for the device of a new partition to be there
	nodeDelay  = time.Second / 10
)

// Size seeks the end.
func (Linux) Size(_ context.Context, device string) (int64, error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", device, err)
	}
	return size, nil
}

// Partitions asks the kernel, after it was told to look if it knows of none.
func (l Linux) Partitions(ctx context.Context, device string) ([]Partition, error) {
	if err := needBlock(device); err != nil {
		return nil, err
	}
	parts, err := kernelPartitions(device)
	if err != nil || len(parts) > 0 {
		return parts, err
	}
	if out, err := program.Run(ctx, "partx", "--show", "--noheadings", "--output", "NR", device); err != nil || len(strings.TrimSpace(string(out))) == 0 {
		return nil, onlyExit(err)
	}
	if _, err := program.Run(ctx, "partx", "--add", device); err != nil {
		return nil, fmt.Errorf("partitions of %s: %w", device, err)
	}
	parts, err = kernelPartitions(device)
	if err == nil && len(parts) == 0 { // which must not be taken for an empty disk
		err = fmt.Errorf("%s has a table of partitions that the kernel does not take", device)
	}
	return parts, err
}

// onlyExit passes an error unless a program ran and ended with a status, which was its answer.
func onlyExit(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return nil
	}
	return err
}

func kernelPartitions(device string) ([]Partition, error) {
	if strings.HasPrefix(device, "/dev/mapper/") {
		if _, err := os.Stat(PartitionPath(device, "1")); err == nil {
			return []Partition{{Device: PartitionPath(device, "1")}}, nil
		}
		return nil, nil
	}
	device, err := filepath.EvalSymlinks(device)
	if err != nil {
		return nil, err
	}
	sys := filepath.Join("/sys/class/block", filepath.Base(device))
	found, err := filepath.Glob(filepath.Join(sys, "*", "partition"))
	if err != nil {
		return nil, err
	}
	parts := make(map[int]Partition, len(found))
	var numbers []int
	for _, file := range found {
		dir := filepath.Dir(file)
		number, err1 := readNumber(file)
		start, err2 := readNumber(filepath.Join(dir, "start"))
		size, err3 := readNumber(filepath.Join(dir, "size"))
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, fmt.Errorf("partitions of %s: %w", device, err)
		}
		numbers = append(numbers, int(number))
		parts[int(number)] = Partition{Device: "/dev/" + filepath.Base(dir), End: (start + size) * sectorSize}
	}
	slices.Sort(numbers)
	var list []Partition
	for _, n := range numbers {
		list = append(list, parts[n])
	}
	return list, nil
}

func readNumber(name string) (int64, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// CreatePartition runs sfdisk, or parted for what is 2 TiB or more.
func (l Linux) CreatePartition(ctx context.Context, device, partitioner string) error {
	err := needBlock(device)
	var size int64
	if err == nil {
		size, err = l.Size(ctx, device)
	}
	if err != nil {
		return fmt.Errorf("partition %s: %w", device, err)
	}
	switch {
	case partitioner != "" && partitioner != "parted":
		return fmt.Errorf("partition %s: unknown partitioner %q: leave it out or name parted", device, partitioner)
	case partitioner == "parted" || size >= largeDisk:
		_, err = program.Run(ctx, "parted", "--script", device, "mklabel", "gpt", "mkpart", "bosh", "1MiB", "100%")
	default:
		_, err = program.Feed(ctx, "label: dos\n,,L\n", "sfdisk", "--quiet", device)
	}
	if err == nil { // a kernel need not know this kind of table, nor has it always looked by itself
		_, err = program.Run(ctx, "partx", "--update", device)
	}
	if err == nil {
		err = awaitNode(ctx, PartitionPath(device, "1"))
	}
	if err != nil {
		return fmt.Errorf("partition %s: %w", device, err)
	}
	return nil
}

// awaitNode waits for the kernel, or udev, to make the device of a partition.
func awaitNode(ctx context.Context, name string) error {
	for try := 1; ; try++ {
		_, err := os.Stat(name)
		if err == nil || try >= nodeTries {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(nodeDelay):
		}
	}
}

// GrowPartition runs sfdisk for either kind of table: it also puts the copy of the newer one where it belongs.
func (Linux) GrowPartition(ctx context.Context, device string) error {
	_, err := program.Feed(ctx, ", +\n", "sfdisk", "--quiet", "--no-reread", "-N", "1", device)
	if err == nil {
		_, err = program.Run(ctx, "partx", "--update", device)
	}
	if err != nil {
		return fmt.Errorf("grow the partition of %s: %w", device, err)
	}
	return nil
}

// FileSystem runs blkid, which looks at the device itself.
func (Linux) FileSystem(ctx context.Context, device string) (string, error) {
	kind, err := probe(ctx, device, "TYPE")
	if err != nil {
		return "", fmt.Errorf("file system of %s: %w", device, err)
	}
	return kind, nil
}

// probe asks blkid for one thing about a device, "" if it does not have that.
func probe(ctx context.Context, device, tag string) (string, error) {
	if _, err := os.Stat(device); err != nil { // for which blkid has the same status as for an empty device
		return "", err
	}
	out, err := program.Run(ctx, "blkid", "--probe", "--match-tag", tag, "--output", "value", device)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 2 {
		return "", nil
	}
	return strings.TrimSpace(string(out)), err
}

// Format runs mkfs, or mkswap.
func (Linux) Format(ctx context.Context, device, fileSystem string) error {
	if err := needBlock(device); err != nil {
		return fmt.Errorf("format: %w", err)
	}
	var err error
	switch fileSystem {
	case "ext4", "xfs":
		_, err = program.Run(ctx, "mkfs."+fileSystem, "-q", device)
	case "swap":
		_, err = program.Run(ctx, "mkswap", device)
	default:
		err = fmt.Errorf("unknown file system %q: name ext4, xfs or swap", fileSystem)
	}
	if err != nil {
		return fmt.Errorf("format %s: %w", device, err)
	}
	return nil
}

// Mount runs mount, which knows the options that are not the kernel's.
func (Linux) Mount(ctx context.Context, device, dir, fileSystem string, options []string) error {
	if err := refuseFile(device); err != nil {
		return fmt.Errorf("mount on %s: %w", dir, err)
	}
	var args []string
	if fileSystem != "" {
		args = append(args, "-t", fileSystem)
	}
	for _, option := range options {
		args = append(args, "-o", option)
	}
	if device != "" {
		args = append(args, "--", device, dir)
	} else {
		args = append(args, "--", dir)
	}
	if _, err := program.Run(ctx, "mount", args...); err != nil {
		return fmt.Errorf("mount %s on %s: %w", cmp.Or(device, "again"), dir, err)
	}
	return nil
}

// Unmount runs umount.
func (Linux) Unmount(ctx context.Context, dir string) error {
	if _, err := program.Run(ctx, "umount", "--", dir); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// Mounts reads what the kernel says of this process.
func (Linux) Mounts(context.Context) ([]Mount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMountInfo(string(data))
}

// parseMountInfo reads lines such as
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
//
// of which the fields before "-" are optional from the seventh on (proc(5)).
func parseMountInfo(text string) ([]Mount, error) {
	var mounts []Mount
	for line := range strings.Lines(text) {
		front, back, found := strings.Cut(line, " - ")
		left, right := strings.Fields(front), strings.Fields(back)
		if !found || len(left) < 6 || len(right) < 2 {
			return nil, fmt.Errorf("mountinfo: unexpected line %.200q", line)
		}
		mounts = append(mounts, Mount{Device: unescape(right[1]), Dir: unescape(left[4]), FileSystem: right[0],
			// of the mount, or of the file system
			ReadOnly: slices.Contains(strings.Split(left[5]+","+right[len(right)-1], ","), "ro")})
	}
	return mounts, nil
}

// unescape reads the octal numbers that stand for blanks, tabs, newlines and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Copy runs tar.
func (Linux) Copy(ctx context.Context, from, to string) error { return copyTree(ctx, from, to) }
