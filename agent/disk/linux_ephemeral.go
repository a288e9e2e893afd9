package disk

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
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
	var script strings.Builder
	script.WriteString("label: gpt\n")
	for _, p := range partitions {
		if err := plain(p.Name); err != nil {
			return fmt.Errorf("partition %s: %w", device, err)
		}
		kind := typeLinux
		if p.Swap {
			kind = typeSwap
		}
		if p.Size > 0 {
			fmt.Fprintf(&script, "size=%dMiB, ", p.Size>>20)
		}
		fmt.Fprintf(&script, "type=%s, name=\"%s\"\n", kind, p.Name)
	}
	_, err := program.Feed(ctx, script.String(), "sfdisk", "--quiet", "--wipe", "always", "--wipe-partitions", "always", device)
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
