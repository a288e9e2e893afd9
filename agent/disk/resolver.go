package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/deakit/deakit/agent/settings"
)

// A Resolver tells which device a disk has become. It waits for disks that were attached a moment ago.
type Resolver interface {
	Resolve(ctx context.Context, d settings.Disk) (device string, err error)
}

// ErrNoPath: the settings of a disk do not say where it is.
var ErrNoPath = errors.New("Getting real device path: path is missing") //nolint:staticcheck // text of the original

// NewResolver makes the resolver that agent.json names.
func NewResolver(l settings.Linux) (Resolver, error) {
	var r Resolver
	switch l.DevicePathResolutionType {
	case "":
		r = Identity{}
	case "virtio":
		v := Virtio{Replacement: l.DiskIDTransformReplacement}
		if l.DiskIDTransformPattern != "" {
			pattern, err := regexp.Compile(l.DiskIDTransformPattern)
			if err != nil {
				return nil, fmt.Errorf("DiskIDTransformPattern: %w", err)
			}
			v.Pattern = pattern
		}
		r = v
	case "scsi":
		r = SCSI{}
	default:
		return nil, fmt.Errorf("DevicePathResolutionType %q: %w: leave it out, or name virtio or scsi",
			l.DevicePathResolutionType, errors.ErrUnsupported)
	}
	if l.LunDeviceSymlinkPath != "" {
		r = Lun{Dir: l.LunDeviceSymlinkPath, Next: r}
	}
	return r, nil
}

// Identity takes paths as they are.
type Identity struct{}

// Resolve returns the path, or what it leads to if it is a link: that is how the kernel calls the device.
func (Identity) Resolve(_ context.Context, d settings.Disk) (string, error) {
	if d.Path == "" {
		return "", ErrNoPath
	}
	if device, err := follow(d.Path); err == nil {
		return device, nil
	}
	return d.Path, nil
}

// Lun looks for a disk with a LUN as a link of that name first (Azure).
type Lun struct {
	Dir  string
	Next Resolver
}

// Resolve follows the link if there is one.
func (l Lun) Resolve(ctx context.Context, d settings.Disk) (string, error) {
	if d.Lun != "" && plain(d.Lun) == nil {
		if device, err := filepath.EvalSymlinks(filepath.Join(l.Dir, d.Lun)); err == nil {
			return device, nil
		}
	}
	return l.Next.Resolve(ctx, d)
}

// Virtio looks for a disk by its id, and then at the names that a path may have become.
type Virtio struct {
	Root        string         // before /dev; default none
	Pattern     *regexp.Regexp // of ids that the host knows by another name
	Replacement string
}

const (
	virtioByID   = 500 * time.Millisecond
	virtioByPath = 30 * time.Second
	minVirtioID  = 20 // characters; shorter ones would be found in others
)

// Resolve waits half a second for the id, then 30 s for the path.
func (v Virtio) Resolve(ctx context.Context, d settings.Disk) (string, error) {
	if id := d.CID; len(id) >= minVirtioID && plain(id) == nil {
		if v.Pattern != nil {
			id = v.Pattern.ReplaceAllString(id, v.Replacement)
		}
		device, err := await(ctx, virtioByID, func() (string, error) { return one(v.Root + "/dev/disk/by-id/*" + id) })
		if err == nil || ctx.Err() != nil {
			return device, err
		}
	}
	if d.Path == "" {
		return "", ErrNoPath
	}
	names := []string{v.Root + d.Path}
	if letter, ok := strings.CutPrefix(d.Path, "/dev/sd"); ok {
		names = []string{v.Root + "/dev/xvd" + letter, v.Root + "/dev/vd" + letter, v.Root + d.Path}
	}
	return await(ctx, virtioByPath, func() (string, error) {
		for _, name := range names {
			if device, err := follow(name); err == nil {
				return device, nil
			}
		}
		return "", fmt.Errorf("no device %s", strings.Join(names, ", "))
	})
}

// await asks again every tenth of a second until there is an answer or the time is over.
func await(ctx context.Context, patience time.Duration, find func() (string, error)) (string, error) {
	deadline := time.Now().Add(patience)
	for {
		device, err := find()
		if err == nil || !time.Now().Before(deadline) {
			return device, err
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%w, while waiting: %w", context.Cause(ctx), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// one returns the device that a pattern finds. Several would be a guess.
func one(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d devices are like %s", len(found), pattern)
	}
	return follow(found[0])
}

// follow returns what a link leads to. The names of the device mapper stay: their partitions are named after them.
func follow(name string) (string, error) {
	if strings.Contains(name, "/dev/mapper/") {
		_, err := os.Stat(name)
		return name, err
	}
	return filepath.EvalSymlinks(name)
}

var plainPattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._:-]*$`)

// plain refuses ids that would be more than a name in a path or a pattern.
func plain(id string) error {
	if !plainPattern.MatchString(id) {
		return fmt.Errorf("%.80q is no id of a disk: it can hold letters, digits, '.', '_', ':' and '-'", id)
	}
	return nil
}
