package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/deakit/deakit/internal/program"
)

// Types of partitions in a GUID table.
const (
	typeLinux = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
	typeSwap  = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
)

// Table runs blkid, and sfdisk where there is a table for it to read: its status is the same for none and for one that
// it could not read, and the latter must not be taken for an empty disk.
func (Linux) Table(ctx context.Context, device string) ([]Partition, error) {
	kind, err := probe(ctx, device, "PTTYPE")
	if err != nil {
		return nil, fmt.Errorf("table of %s: %w", device, err)
	}
	if kind != "gpt" {
		return nil, nil
	}
	out, err := program.Run(ctx, "sfdisk", "--json", device)
	var dump struct {
		Table struct {
			Partitions []struct{ Node, Name string }
		} `json:"partitiontable"`
	}
	if err == nil {
		err = json.Unmarshal(out, &dump)
	}
	if err != nil {
		return nil, fmt.Errorf("table of %s: %w", device, err)
	}
	var parts []Partition
	for _, p := range dump.Table.Partitions {
		parts = append(parts, Partition{Device: p.Node, Name: p.Name})
	}
	return parts, nil
}

// CreateTable runs sfdisk, which also removes what it finds where the partitions will be: else that would show up in them.
func (Linux) CreateTable(ctx context.Context, device string, partitions []NewPartition) error {
	script, err := sfdiskLines(partitions, true)
	if err == nil {
		err = needBlock(device)
	}
	if err == nil {
		_, err = program.Feed(ctx, "label: gpt\n"+script, "sfdisk", "--quiet", "--wipe", "always", "--wipe-partitions", "always", device)
	}
	if err == nil { // see CreatePartition
		_, err = program.Run(ctx, "partx", "--update", device)
	}
	for i := range partitions {
		if err == nil {
			err = awaitNode(ctx, PartitionPath(device, strconv.Itoa(i+1)))
		}
	}
	if err != nil {
		return fmt.Errorf("partition %s: %w", device, err)
	}
	return nil
}

// sfdiskLines describe partitions to sfdisk, for a table with names or a table of old.
func sfdiskLines(partitions []NewPartition, names bool) (string, error) {
	var script strings.Builder
	for _, p := range partitions {
		if err := plain(p.Name); err != nil {
			return "", err
		}
		if p.start > 0 {
			fmt.Fprintf(&script, "start=%dMiB, ", p.start>>20)
		}
		if p.Size > 0 {
			fmt.Fprintf(&script, "size=%dMiB, ", p.Size>>20)
		}
		switch {
		case names && p.Swap:
			fmt.Fprintf(&script, "type=%s, name=\"%s\"\n", typeSwap, p.Name)
		case names:
			fmt.Fprintf(&script, "type=%s, name=\"%s\"\n", typeLinux, p.Name)
		case p.Swap:
			script.WriteString("type=82\n")
		default:
			script.WriteString("type=83\n")
		}
	}
	return script.String(), nil
}

// AppendPartitions runs sfdisk, which puts the copy of a GUID table where it belongs if the device has grown.
func (l Linux) AppendPartitions(ctx context.Context, device string, partitions []NewPartition) error {
	kind, err := probe(ctx, device, "PTTYPE")
	before, fault := kernelPartitions(device)
	if err := errors.Join(err, fault); err != nil {
		return fmt.Errorf("partition %s: %w", device, err)
	}
	if kind != "gpt" && kind != "dos" {
		return fmt.Errorf("partition %s: a table %q is not added to, only gpt and dos", device, kind)
	}
	script, err := sfdiskLines(behind(before, partitions), kind == "gpt")
	if err == nil {
		_, err = program.Feed(ctx, script, "sfdisk", "--quiet", "--no-reread", "--append", "--wipe-partitions", "always", device)
	}
	if err == nil {
		_, err = program.Run(ctx, "partx", "--update", device)
	}
	after := before
	if err == nil {
		after, err = kernelPartitions(device)
	}
	for _, p := range after {
		if err == nil {
			err = awaitNode(ctx, p.Device)
		}
	}
	if err == nil && len(after) != len(before)+len(partitions) {
		err = fmt.Errorf("the kernel knows of %d partitions, after %d were added to %d", len(after), len(partitions), len(before))
	}
	if err != nil {
		return fmt.Errorf("partition %s: %w", device, err)
	}
	return nil
}

// behind says where partitions start that follow those there are: left to itself, sfdisk fills gaps first.
func behind(there []Partition, partitions []NewPartition) []NewPartition {
	const mib = 1 << 20
	start := int64(mib)
	for _, p := range there {
		start = max(start, (p.End+mib-1)/mib*mib)
	}
	placed := slices.Clone(partitions)
	for i := range placed {
		placed[i].start = start
		start += placed[i].Size / mib * mib
	}
	return placed
}

// Whole asks the kernel.
func (Linux) Whole(_ context.Context, partition string) (string, error) {
	real, err := filepath.EvalSymlinks(partition)
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Join("/sys/class/block", filepath.Base(real)))
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "partition"))
	}
	if err != nil {
		return "", fmt.Errorf("%s is no partition of a device: %w", partition, err)
	}
	return "/dev/" + filepath.Base(filepath.Dir(dir)), nil
}

// SwapOn runs swapon.
func (Linux) SwapOn(ctx context.Context, device string) error {
	if _, err := program.Run(ctx, "swapon", device); err != nil {
		return fmt.Errorf("swap to %s: %w", device, err)
	}
	return nil
}

// Swaps reads what the kernel says: a line of headings, and one for each.
func (Linux) Swaps(context.Context) ([]string, error) {
	data, err := os.ReadFile("/proc/swaps")
	if err != nil {
		return nil, err
	}
	var devices []string
	for i, line := range strings.Split(string(data), "\n") {
		if fields := strings.Fields(line); i > 0 && len(fields) > 0 {
			devices = append(devices, unescape(fields[0]))
		}
	}
	return devices, nil
}
