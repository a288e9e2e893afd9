package disk

import (
	"context"
	"fmt"
	"slices"
	"strconv"
)

// Table is what CreateTable made.
func (m *Memory) Table(ctx context.Context, device string) ([]Partition, error) {
	parts, err := m.Partitions(ctx, device)
	return slices.DeleteFunc(parts, func(p Partition) bool { return p.Name == "" }), err
}

// CreateTable forgets what the device held.
func (m *Memory) CreateTable(_ context.Context, device string, partitions []NewPartition) error {
	return m.change(func() error {
		d, err := m.whole(device)
		if err != nil {
			return err
		}
		for _, p := range append([]Partition{{Device: device}}, d.Partitions...) {
			if slices.ContainsFunc(m.state.Mounts, func(mount Mount) bool { return mount.Device == p.Device }) || slices.Contains(m.state.Swaps, p.Device) {
				return fmt.Errorf("partition %s: %s is in use", device, p.Device)
			}
		}
		d.Partitions, d.FileSystems = nil, map[string]string{}
		d.append(device, partitions)
		return nil
	})
}

// AppendPartitions adds to those there are.
func (m *Memory) AppendPartitions(_ context.Context, device string, partitions []NewPartition) error {
	return m.change(func() error {
		d, err := m.whole(device)
		if err == nil {
			d.append(device, partitions)
		}
		return err
	})
}

func (d *memoryDevice) append(device string, partitions []NewPartition) {
	end := int64(0)
	for _, p := range d.Partitions {
		end = max(end, p.End)
	}
	for _, p := range partitions {
		if end += p.Size; p.Size == 0 {
			end = d.Size
		}
		d.Partitions = append(d.Partitions, Partition{PartitionPath(device, strconv.Itoa(len(d.Partitions)+1)), end, p.Name})
	}
}

// Whole knows the partitions of all devices.
func (m *Memory) Whole(_ context.Context, partition string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, d := range m.state.Devices {
		if slices.ContainsFunc(d.Partitions, func(p Partition) bool { return p.Device == partition }) {
			return name, nil
		}
	}
	return "", fmt.Errorf("%s is no partition: %w", partition, errNoDevice)
}

// SwapOn notes it.
func (m *Memory) SwapOn(_ context.Context, device string) error {
	return m.change(func() error {
		d, err := m.whole(device)
		if err != nil {
			return err
		}
		if d.FileSystems[device] != "swap" {
			return fmt.Errorf("swap to %s: it is not formatted for that", device)
		}
		m.state.Swaps = append(m.state.Swaps, device)
		return nil
	})
}

// Swaps are those of this machine.
func (m *Memory) Swaps(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.state.Swaps), nil
}
