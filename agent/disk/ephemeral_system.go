package disk

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/deakit/deakit/agent/settings"
)

const minOnSystemDisk = 1 << 30 // bytes (Go agent)

// setupOnSystemDisk uses the partitions behind that of the system, which are made if there are none. Whether they were made for
// that a table of old cannot say; what they hold can.
func (e Ephemeral) setupOnSystemDisk(ctx context.Context, s *settings.Settings) error {
	device, system, err := e.systemDisk(ctx)
	if err != nil {
		return err
	}
	parts, free, err := e.behind(ctx, device, system)
	if err != nil {
		return err
	}
	inPlace, err := e.inPlace(ctx, device, parts)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		if free < minOnSystemDisk {
			return fmt.Errorf("Insufficient remaining disk space (%dB) for ephemeral partition (min: %dB) on %s", free, minOnSystemDisk, device) //nolint:staticcheck // text of the original
		}
		list, swap, err := e.list(free, ephemeralPrefix(s.AgentID), s.Env.Bosh.SwapSize)
		if err != nil {
			return fmt.Errorf("%s: %w", device, err)
		}
		e.Logger.Info("disk.ephemeral.append", "device", device, "bytes", free, "swap", swap)
		if err := e.System.AppendPartitions(ctx, device, list); err != nil {
			return err
		}
		if parts, _, err = e.behind(ctx, device, system); err != nil {
			return err
		}
		if len(parts) != len(list) {
			return fmt.Errorf("%s has other partitions than it was given", device)
		}
	}
	if err := e.fit(ctx, device, parts, ephemeralPrefix(s.AgentID)); err != nil {
		return fmt.Errorf("behind the system, %s: %w", system, err)
	}
	return e.use(ctx, parts, inPlace, s.Env.Bosh.SwapSize)
}

// fit refuses partitions that somebody else made, as far as can be told: the original gives all the same name, where there are names.
func (e Ephemeral) fit(ctx context.Context, device string, parts []Partition, prefix string) error {
	if len(parts) > 2 {
		return fmt.Errorf("%s has %d partitions, of which two at most are ours: %w", device, len(parts), ErrForeign)
	}
	named, err := e.System.Table(ctx, device)
	if err != nil {
		return err
	}
	for _, p := range named {
		there := slices.ContainsFunc(parts, func(q Partition) bool { return q.Device == p.Device })
		if there && p.Name != "primary" && !strings.HasPrefix(p.Name, prefix+"-") {
			return fmt.Errorf("%s has the name %q: %w", p.Device, p.Name, ErrForeign)
		}
	}
	return nil
}

// systemDisk finds the disk, and the partition of it that the system is on.
func (e Ephemeral) systemDisk(ctx context.Context) (device, partition string, err error) {
	mounts, err := e.System.Mounts(ctx)
	if err != nil {
		return "", "", err
	}
	there, found := at(mounts, e.Root)
	if !found {
		return "", "", fmt.Errorf("nothing is mounted at %s", e.Root)
	}
	device, err = e.System.Whole(ctx, there.Device)
	return device, there.Device, err
}

// behind returns the partitions behind one of a disk, in the order in which they lie, and the bytes that are free behind the last.
// Numbers say nothing of that: on many images those of the boot loader are the highest, and come first.
func (e Ephemeral) behind(ctx context.Context, device, system string) (parts []Partition, free int64, err error) {
	size, err := e.System.Size(ctx, device)
	if err != nil {
		return nil, 0, err
	}
	if parts, err = e.System.Partitions(ctx, device); err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(parts, func(p Partition) bool { return p.Device == system })
	if i < 0 {
		return nil, 0, fmt.Errorf("%s does not have the partition %s", device, system)
	}
	end := parts[i].End
	parts = slices.DeleteFunc(parts, func(p Partition) bool { return p.End <= end })
	slices.SortFunc(parts, func(a, b Partition) int { return cmp.Compare(a.End, b.End) })
	if len(parts) > 0 {
		end = parts[len(parts)-1].End
	}
	return parts, size - end, nil
}
