package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/agent/settings"
)

// Ephemeral is the ephemeral disk of a machine: what the director attaches for swap, and for what may be lost.
type Ephemeral struct {
	System   EphemeralSystem // default Linux
	Resolver Resolver        // required
	Dir      string          // where it is mounted, base/data; required

	// OnSystemDisk lets a machine without an ephemeral disk have its partitions behind that of the system, on the same disk, if
	// 1 GiB is free there. Nothing on that disk is lost.
	OnSystemDisk bool
	Root         string // where the system is mounted; default "/"

	// Hints are the files in which a [Manager] keeps what a director says of persistent disks that came after the settings, so that
	// none of those is taken for the ephemeral one; a file that is not there says nothing. Default none.
	Hints []string

	Memory int64        // bytes of the machine, for the size of swap; 0 asks the kernel
	Logger *slog.Logger // nil discards
}

// ErrNoEphemeral: the settings tell of no ephemeral disk, or its device is not there.
var ErrNoEphemeral = errors.New("No ephemeral disk found") //nolint:staticcheck // text of the original

// ephemeralName begins the names of the partitions of an ephemeral disk, and is followed by the agent's id (Go agent).
const ephemeralName = "bosh-partition-"

// Setup gives the ephemeral disk of the settings two partitions, one for swap and one with ext4, or only the latter, swaps to the
// one and mounts the other at Dir. Swap is as large as the memory, half of the disk at most, or env.bosh.swap_size MiB; 0 for none.
//
// Whatever the disk held is lost, unless the names of its partitions say that they were made for this agent, by this package
// or by the original: then it keeps what they hold, and its partitions as they are, also when another size of swap is wanted
// since. So it can be called at each start of the agent. A disk that is in use elsewhere is refused, and one that would get new
// partitions and is a persistent disk of the settings or hints too.
func (e Ephemeral) Setup(ctx context.Context, s *settings.Settings) error {
	e.Logger, e.Root = cmp.Or(e.Logger, slog.New(slog.DiscardHandler)), cmp.Or(e.Root, "/")
	if e.System == nil {
		e.System = Linux{}
	}
	if e.Resolver == nil || e.Dir == "" {
		return errors.New("ephemeral disk: a Resolver and a Dir are needed")
	}
	device, missing := e.device(ctx, s)
	if missing != nil && (!e.OnSystemDisk || ctx.Err() != nil) {
		return missing
	}
	err := os.MkdirAll(e.Dir, 0o750)
	if err == nil {
		e.Dir, err = filepath.EvalSymlinks(e.Dir) // as the kernel calls it
	}
	switch {
	case err != nil:
	case missing != nil:
		e.Logger.Info("disk.ephemeral.none", "reason", missing)
		err = e.setupOnSystemDisk(ctx, s)
	default:
		err = e.setup(ctx, device, s)
	}
	if err != nil {
		return fmt.Errorf("ephemeral disk: %w", err)
	}
	return nil
}

// device is that of the settings, or the error is ErrNoEphemeral.
func (e Ephemeral) device(ctx context.Context, s *settings.Settings) (string, error) {
	if s.Disks.Ephemeral.IsZero() {
		return "", fmt.Errorf("%w: the settings name none", ErrNoEphemeral)
	}
	device, err := e.Resolver.Resolve(ctx, s.Disks.Ephemeral)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoEphemeral, err)
	}
	return device, nil
}

func (e Ephemeral) setup(ctx context.Context, device string, s *settings.Settings) error {
	prefix := ephemeralPrefix(s.AgentID)
	parts, err := e.System.Partitions(ctx, device) // first: the kernel may have to be told to look
	if err != nil {
		return err
	}
	named, err := e.System.Table(ctx, device)
	if err != nil {
		return err
	}
	inPlace, err := e.inPlace(ctx, device, slices.Concat(parts, named))
	if err != nil {
		return err
	}
	if !madeFor(prefix, named) {
		if inPlace { // by hand, or by an agent of another time: it does what it is for
			e.Logger.Info("disk.ephemeral.kept", "device", device)
			return nil
		}
		if err := e.mayBeLost(ctx, device, s); err != nil {
			return err
		}
		if named, err = e.partition(ctx, device, prefix, s.Env.Bosh.SwapSize); err != nil {
			return err
		}
	}
	return e.use(ctx, named, inPlace, s.Env.Bosh.SwapSize)
}

// use swaps to the first of two partitions, unless nobody wants that any more, and mounts the last one if it is not.
func (e Ephemeral) use(ctx context.Context, parts []Partition, inPlace bool, wanted *uint64) error {
	if len(parts) == 2 && (wanted == nil || *wanted > 0) {
		if err := e.swap(ctx, parts[0].Device); err != nil {
			return err
		}
	}
	if inPlace {
		return nil
	}
	return e.mount(ctx, parts[len(parts)-1].Device)
}

// ephemeralPrefix is what the names of this agent's partitions begin with. A name has 36 characters at most, of which the
// original leaves some for a number. Ids that it would have to quote are no ones of directors.
func ephemeralPrefix(agentID string) string {
	prefix := ephemeralName + strings.Map(func(r rune) rune {
		if plainPattern.MatchString("_" + string(r)) {
			return r
		}
		return '_'
	}, agentID)
	if len(prefix) > 33 {
		prefix = prefix[:32]
	}
	return prefix
}

// madeFor tells whether these are the partitions that Setup makes.
func madeFor(prefix string, parts []Partition) bool {
	for i, p := range parts {
		if p.Name != prefix+"-"+strconv.Itoa(i) {
			return false
		}
	}
	return len(parts) == 1 || len(parts) == 2
}

// inPlace tells whether the disk is mounted at Dir. It refuses one that is mounted elsewhere, and a Dir that has another. What jobs
// and containers mount besides, of a disk that is in place, is theirs: their binds show its name too.
func (e Ephemeral) inPlace(ctx context.Context, device string, parts []Partition) (bool, error) {
	mounts, err := e.System.Mounts(ctx)
	if err != nil {
		return false, err
	}
	ours := func(mount Mount) bool {
		return mount.Device == device || slices.ContainsFunc(parts, func(p Partition) bool { return p.Device == mount.Device })
	}
	switch there, taken := at(mounts, e.Dir); {
	case taken && ours(there):
		return true, nil
	case taken:
		return false, fmt.Errorf("%s has %s, and not %s: unmount it first", e.Dir, there.Device, device)
	}
	if i := slices.IndexFunc(mounts, ours); i >= 0 {
		return false, fmt.Errorf("%s is mounted at %s: unmount it first", mounts[i].Device, mounts[i].Dir)
	}
	return false, nil
}

// partition makes the partitions, in place of all that there is.
func (e Ephemeral) partition(ctx context.Context, device, prefix string, wanted *uint64) ([]Partition, error) {
	size, err := e.System.Size(ctx, device)
	if err != nil {
		return nil, err
	}
	list, swap, err := e.list(size, prefix, wanted)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", device, err)
	}
	e.Logger.Info("disk.ephemeral.partition", "device", device, "bytes", size, "swap", swap)
	if err := e.System.CreateTable(ctx, device, list); err != nil {
		return nil, err
	}
	named, err := e.System.Table(ctx, device)
	if err == nil && !madeFor(prefix, named) {
		err = fmt.Errorf("%s has other partitions than it was given", device)
	}
	return named, err
}

// list has the partitions for so many bytes, and tells how many of them are for swap.
func (e Ephemeral) list(size int64, prefix string, wanted *uint64) (list []NewPartition, swap int64, err error) {
	if swap, err = e.swapSize(size, wanted); err != nil {
		return nil, 0, err
	}
	if swap > 0 {
		list = append(list, NewPartition{Name: prefix + "-0", Size: swap, Swap: true})
	}
	return append(list, NewPartition{Name: prefix + "-" + strconv.Itoa(len(list))}), swap, nil
}

// swapSize is in bytes, a whole number of MiB.
func (e Ephemeral) swapSize(size int64, wanted *uint64) (int64, error) {
	const mib = 1 << 20
	if wanted != nil {
		if size < growth || *wanted > uint64(size-growth)/mib {
			return 0, fmt.Errorf("env.bosh.swap_size of %d MiB leaves no room for data in %d MiB", *wanted, size/mib)
		}
		return int64(*wanted) * mib, nil
	}
	memory := e.Memory
	if memory == 0 {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			return 0, fmt.Errorf("size of memory: %w", err)
		}
		memory = int64(info.Totalram) * int64(info.Unit)
	}
	return min(memory, size/2) / mib * mib, nil
}

// swap has the machine swap to a partition, which is made fit for it first.
func (e Ephemeral) swap(ctx context.Context, partition string) error {
	used, err := e.System.Swaps(ctx)
	if err != nil || slices.Contains(used, partition) {
		return err
	}
	kind, err := e.System.FileSystem(ctx, partition)
	if err != nil {
		return err
	}
	switch kind {
	case "swap":
	case "":
		if err := e.System.Format(ctx, partition, "swap"); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is %s: %w", partition, kind, ErrForeign)
	}
	return e.System.SwapOn(ctx, partition)
}

// mount mounts the data, with a new file system if there is none.
func (e Ephemeral) mount(ctx context.Context, partition string) error {
	kind, err := e.System.FileSystem(ctx, partition)
	if err != nil {
		return err
	}
	switch kind {
	case "ext4", "xfs":
	case "":
		kind = "ext4"
		e.Logger.Info("disk.ephemeral.format", "device", partition, "file_system", kind)
		if err := e.System.Format(ctx, partition, kind); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is %s: %w", partition, kind, ErrForeign)
	}
	if err := e.System.Mount(ctx, partition, e.Dir, kind, nil); err != nil {
		return err
	}
	e.Logger.Info("disk.ephemeral.mounted", "device", partition, "dir", e.Dir)
	return nil
}
