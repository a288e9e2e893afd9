package settings

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/deakit/deakit/internal/program"
)

// A Mounter shows what is on a device at a directory. Package disk has one.
type Mounter interface {
	Mount(ctx context.Context, device, dir, fileSystem string, options []string) error
	Unmount(ctx context.Context, dir string) error
}

// readFiles mounts a device, read-only, and reads files from it, which cannot lead outside. A file that is not there is
// nil.
func readFiles(ctx context.Context, m Mounter, device string, names ...string) (contents [][]byte, err error) {
	dir, err := os.MkdirTemp("", "settings-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(dir)
	if err := m.Mount(ctx, device, dir, "", []string{"ro"}); err != nil {
		return nil, fmt.Errorf("mount %s: %w", device, err)
	}
	defer func() {
		// Also when nobody waits any more: a mount would stay.
		if fault := m.Unmount(context.WithoutCancel(ctx), dir); fault != nil {
			err = errors.Join(err, fmt.Errorf("unmount %s: %w", device, fault))
		}
	}()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for _, name := range names {
		data, err := readIn(root, name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		contents = append(contents, data)
	}
	return contents, nil
}

func readIn(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readAll(f, name)
	if data == nil && err == nil {
		data = []byte{}
	}
	return data, err
}

// ConfigDrive is a disk that OpenStack attaches.
type ConfigDrive struct {
	DiskPaths    []string // tried in order: /dev/disk/by-label/CONFIG-2, /dev/disk/by-label/config-2
	MetaDataPath string   // ec2/latest/meta-data.json
	UserDataPath string   // ec2/latest/user-data
	Mounter      Mounter
}

// Settings reads the user data.
func (c ConfigDrive) Settings(ctx context.Context) (*Settings, error) {
	data, err := c.read(ctx, c.UserDataPath)
	if err != nil {
		return nil, err
	}
	u, err := parseUserData(data)
	if err != nil {
		return nil, fmt.Errorf("config drive: %w", err)
	}
	s, err := u.settings()
	if errors.Is(err, ErrNoSettings) && u.Registry.Endpoint != "" {
		return Registry{Endpoint: u.Registry.Endpoint, InstanceID: u.Server.Name, Nameservers: u.DNS.Nameserver}.Settings(ctx)
	}
	return s, err
}

// PublicSSHKey reads the meta data.
func (c ConfigDrive) PublicSSHKey(ctx context.Context) (string, error) {
	if c.MetaDataPath == "" {
		return "", nil
	}
	data, err := c.read(ctx, c.MetaDataPath)
	if err != nil {
		return "", err
	}
	var meta struct {
		PublicKeys map[string]struct {
			Key string `json:"openssh-key"`
		} `json:"public-keys"`
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return "", fmt.Errorf("config drive: %s: %w", c.MetaDataPath, err)
	}
	return meta.PublicKeys["0"].Key, nil
}

func (c ConfigDrive) read(ctx context.Context, name string) ([]byte, error) {
	var errs []error
	for _, path := range c.DiskPaths {
		contents, err := readFiles(ctx, c.Mounter, path, name)
		if err == nil && contents[0] == nil {
			err = fmt.Errorf("%s: no file %s", path, name)
		}
		if err == nil {
			return contents[0], nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, errors.New("config drive: no DiskPaths are configured")
	}
	return nil, fmt.Errorf("config drive: %w", errors.Join(errs...))
}

// CDROM is a disc that vSphere inserts.
type CDROM struct {
	Device   string // default /dev/sr0
	FileName string // default env
	Mounter  Mounter
	Tries    int            // until the disc can be read; default 10
	Delay    time.Duration  // between them; default 500 ms; negative for none
	Run      program.Runner // of udevadm and eject; default program.Run
	Logger   *slog.Logger   // nil discards
}

// Settings waits for the disc, reads it and ejects it.
func (c CDROM) Settings(ctx context.Context) (*Settings, error) {
	device, name := cmp.Or(c.Device, "/dev/sr0"), cmp.Or(c.FileName, "env")
	run := c.Run
	if run == nil {
		run = program.Run
	}
	log := cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	// A machine may do without either program.
	if _, err := run(ctx, "udevadm", "settle"); err != nil {
		log.Debug("settings.cdrom.unsettled", "error", err)
	}
	if err := c.await(ctx, device); err != nil {
		return nil, fmt.Errorf("CD-ROM: %w", err)
	}
	contents, err := readFiles(ctx, c.Mounter, device, name)
	if err != nil {
		return nil, fmt.Errorf("CD-ROM: %w", err)
	}
	if _, err := run(ctx, "eject", "-v", device); err != nil {
		log.Debug("settings.cdrom.not_ejected", "error", err)
	}
	if contents[0] == nil {
		return nil, fmt.Errorf("CD-ROM: %s: no file %s", device, name)
	}
	s, err := Parse(contents[0])
	if err != nil {
		return nil, fmt.Errorf("CD-ROM: %w", err)
	}
	return s, nil
}

// await returns when a byte could be read.
func (c CDROM) await(ctx context.Context, device string) error {
	for try := 1; ; try++ {
		err := readByte(device)
		if err == nil || try >= max(1, cmp.Or(c.Tries, 10)) {
			return err
		}
		if try == 1 && c.Logger != nil {
			c.Logger.Warn("settings.waiting", "source", device, "error", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, after: %w", context.Cause(ctx), err)
		case <-time.After(cmp.Or(c.Delay, 500*time.Millisecond)):
		}
	}
}

func readByte(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Read(make([]byte, 1))
	return err
}

// PublicSSHKey is none.
func (CDROM) PublicSSHKey(context.Context) (string, error) { return "", nil }
