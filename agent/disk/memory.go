package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/atomicfile"
)

// Memory is a machine whose disks are only noted. What a file system holds is real: it is a directory, which is moved to
// where it is mounted and back. So an agent can be tried out without root, and a test can look at files.
//
// All is kept below a directory, also what is mounted, and goes on after a restart. Its methods may be called from several
// goroutines at once.
type Memory struct {
	dir string

	mu    sync.Mutex
	state memoryState
}

type memoryState struct {
	Devices map[string]*memoryDevice
	Mounts  []Mount
	Swaps   []string
}

type memoryDevice struct {
	Size        int64
	Partitions  []Partition
	FileSystems map[string]string // by path of the device or partition
}

// Errors of a Memory, which a kernel has others for.
var (
	errNoDevice   = errors.New("no such device")
	errNotMounted = errors.New("not mounted")
)

// NewMemory opens the machine that is kept in dir, which is made if it is not there. It must be on the file system on which things
// will be mounted.
func NewMemory(dir string) (*Memory, error) {
	m := &Memory{dir: dir, state: memoryState{Devices: map[string]*memoryDevice{}}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open disks in memory: %w", err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &m.state)
	}
	if err != nil {
		return nil, fmt.Errorf("open disks in memory: %w", err)
	}
	return m, nil
}

// Attach adds an empty device of so many bytes, or grows the one there is.
func (m *Memory) Attach(device string, size int64) error {
	return m.change(func() error {
		if d, ok := m.state.Devices[device]; ok {
			d.Size = size
			return nil
		}
		m.state.Devices[device] = &memoryDevice{Size: size, FileSystems: map[string]string{}}
		return nil
	})
}

// change does something and writes down what there is now.
func (m *Memory) change(what func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := what(); err != nil {
		return err
	}
	data, err := json.Marshal(m.state)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(m.dir, "state.json"), data, 0o600)
}

// whole finds the device that a path is, or is a partition of.
func (m *Memory) whole(path string) (*memoryDevice, error) {
	for name, d := range m.state.Devices {
		if path == name || slices.ContainsFunc(d.Partitions, func(p Partition) bool { return p.Device == path }) {
			return d, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", path, errNoDevice)
}

// Size is what the device was attached with.
func (m *Memory) Size(_ context.Context, device string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.whole(device)
	if err != nil {
		return 0, err
	}
	return d.Size, nil
}

// Partitions are those that were made.
func (m *Memory) Partitions(_ context.Context, device string) ([]Partition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.whole(device)
	if err != nil {
		return nil, err
	}
	return slices.Clone(d.Partitions), nil
}

// CreatePartition forgets what the device held.
func (m *Memory) CreatePartition(ctx context.Context, device, _ string) error {
	return m.CreateTable(ctx, device, []NewPartition{{}})
}

// GrowPartition makes it as long as the device.
func (m *Memory) GrowPartition(_ context.Context, device string) error {
	return m.change(func() error {
		d, err := m.whole(device)
		if err != nil {
			return err
		}
		if len(d.Partitions) != 1 {
			return fmt.Errorf("grow the partition of %s: it has %d", device, len(d.Partitions))
		}
		d.Partitions[0].End = d.Size
		return nil
	})
}

// FileSystem is what Format made.
func (m *Memory) FileSystem(_ context.Context, device string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.whole(device)
	if err != nil {
		return "", err
	}
	return d.FileSystems[device], nil
}

// Format makes an empty directory, also for swap.
func (m *Memory) Format(_ context.Context, device, fileSystem string) error {
	return m.change(func() error {
		d, err := m.whole(device)
		if err != nil {
			return err
		}
		if err := os.RemoveAll(m.content(device)); err != nil {
			return err
		}
		d.FileSystems[device] = fileSystem
		return os.Mkdir(m.content(device), 0o755)
	})
}

// content is the directory that a file system is while it is not mounted.
func (m *Memory) content(device string) string {
	return filepath.Join(m.dir, url.PathEscape(device))
}

// GrowFileSystem has nothing to do.
func (m *Memory) GrowFileSystem(context.Context, string, string) error { return nil }

// Mount moves the content of a file system to dir, which must be empty. A tmpfs is whatever is at dir, until it is unmounted.
func (m *Memory) Mount(_ context.Context, device, dir, fileSystem string, options []string) error {
	return m.change(func() error {
		if slices.Contains(options, "remount") {
			i := m.at(dir)
			if i < 0 {
				return fmt.Errorf("mount %s again: %w", dir, errNotMounted)
			}
			m.state.Mounts[i].ReadOnly = slices.Contains(options, "ro")
			return nil
		}
		if fileSystem == "tmpfs" {
			m.state.Mounts = append(m.state.Mounts, Mount{Device: device, Dir: dir, FileSystem: fileSystem})
			return nil
		}
		d, err := m.whole(device)
		if err != nil {
			return err
		}
		if d.FileSystems[device] == "" {
			return fmt.Errorf("mount %s: there is no file system", device)
		}
		// Unlike os.Rename this replaces a directory that is empty.
		if err := unix.Rename(m.content(device), dir); err != nil {
			return fmt.Errorf("mount %s: %w", device, err)
		}
		m.state.Mounts = append(m.state.Mounts, Mount{device, dir, d.FileSystems[device], slices.Contains(options, "ro")})
		return nil
	})
}

// at finds a mount, -1 for none.
func (m *Memory) at(dir string) int {
	return slices.IndexFunc(m.state.Mounts, func(mount Mount) bool { return mount.Dir == dir })
}

// Unmount moves the content back.
func (m *Memory) Unmount(_ context.Context, dir string) error {
	return m.change(func() error {
		i := m.at(dir)
		if i < 0 {
			return fmt.Errorf("unmount %s: %w", dir, errNotMounted)
		}
		err := error(nil)
		if m.state.Mounts[i].FileSystem == "tmpfs" {
			err = os.RemoveAll(dir)
		} else {
			err = os.Rename(dir, m.content(m.state.Mounts[i].Device))
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
		m.state.Mounts = slices.Delete(m.state.Mounts, i, i+1)
		return os.Mkdir(dir, 0o700)
	})
}

// Mounts are those of this machine.
func (m *Memory) Mounts(context.Context) ([]Mount, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.state.Mounts), nil
}

// Copy runs tar.
func (m *Memory) Copy(ctx context.Context, from, to string) error { return copyTree(ctx, from, to) }
