package runc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/rootfs"
	"github.com/deakit/deakit/container/runc/internal/supervisor"
	"github.com/deakit/deakit/internal/containerkit"
)

// Create makes a container. Spec.RootFS is a directory or a tarball on the host. Bind mounts are what stands at their
// source when the container is made, without what is mounted below it; their source must exist.
func (b *Backend) Create(ctx context.Context, spec container.Spec) (container.Container, error) {
	drawn := spec.Handle == ""
	for {
		if drawn {
			var err error
			if spec.Handle, err = b.depot.handles.draw(); errors.Is(err, fs.ErrClosed) {
				err = ErrClosed
			}
			if err != nil {
				return nil, fmt.Errorf("create container: %w", err)
			}
		}
		c, err := b.create(ctx, spec)
		if drawn && errors.Is(err, container.ErrExists) {
			continue // someone chose it
		}
		if err != nil {
			return nil, fmt.Errorf("create container %q: %w", spec.Handle, err)
		}
		return c, nil
	}
}

func (b *Backend) create(ctx context.Context, spec container.Spec) (*box, error) {
	if err := containerkit.CheckSpec(spec); err != nil {
		return nil, err
	}
	mounts := containerkit.CleanMounts(spec.BindMounts)
	if err := checkMounts(mounts); err != nil {
		return nil, err
	}
	c := b.newBox(spec.Handle)
	c.mounts, c.env, c.properties = mounts, slices.Clone(spec.Env), maps.Clone(spec.Properties)
	c.limits = containerkit.CloneLimits(spec.Limits)
	done, err := b.fleet.Reserve(ctx, c.handle, c)
	if err != nil {
		return nil, err
	}
	defer done()
	err = c.make(ctx, cmp.Or(spec.RootFS, b.opts.RootFS))
	if err == nil {
		err = b.fleet.Publish(ctx, c.handle, c)
	}
	if err == nil {
		return c, nil
	}
	// Whatever ctx says: nothing is left behind.
	err = errors.Join(err, c.remove())
	return nil, err
}

// make makes what the container consists of, in the order in which one thing needs the other.
func (c *box) make(ctx context.Context, base string) error {
	base, err := c.b.bases.Resolve(ctx, base)
	if err != nil {
		return err
	}
	if c.slot, err = c.b.slots.draw(); err != nil {
		return err
	}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return err
	}
	if shift := c.b.opts.UserNamespace; shift > 0 { // the container's root comes through here, and nobody else
		if err := errors.Join(os.Chown(c.dir, 0, shift), os.Chmod(c.dir, 0o710)); err != nil {
			return err
		}
	}
	for _, step := range []func() error{
		func() error { return os.Mkdir(c.path(streamsName), 0o700) },
		func() error { return c.makeFiles(ctx, base) },
		func() error { return c.makeNetwork() },
		func() (err error) { c.status, err = supervisor.OpenStatus(c.path(statusName)); return err },
		func() error { return c.launch(ctx) },
		func() error { return c.awaitSupervisor(ctx) },
		func() error { return c.connect() },
		func() error { return c.group().Join(c.init.pid) },
		func() error { return c.group().SetLimits(c.groupLimits(c.limits)) },
		func() error { return c.begin() },
		func() error { return c.save() },
	} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(); err != nil {
			return cmp.Or(ctx.Err(), err) // programs are killed when ctx ends
		}
	}
	return nil
}

// makeFiles makes the root file system.
func (c *box) makeFiles(ctx context.Context, base string) (err error) {
	if c.disk, err = rootfs.MakeDisk(ctx, c.b.disk, c.dir, c.limits); err != nil {
		return err
	}
	program, err := supervisor.Program(supervisorPath, c.b.nested())
	if err != nil {
		return err
	}
	layer := rootfs.Layer{
		Base: base, Dir: c.dir, UID: c.slot.uid, GID: c.slot.uid, Account: c.appUser().uid, Hostname: c.hostname(),
		Files: map[string][]byte{supervisorPath: program}, Unprivileged: c.b.ids.Inside, Shift: c.b.shift,
	}
	var host netip.Addr
	own := "127.0.0.1"
	if c.b.net != nil {
		var address netip.Addr
		host, address = c.b.net.Addresses(c.slot.index)
		own = address.String()
		layer.Resolv = c.b.dns.file(host)
	}
	layer.Hosts = fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", own, c.hostname())
	if base == "/" {
		if layer.Hidden, err = c.b.hidden(); err != nil {
			return err
		}
	}
	if err := layer.Fill(); err != nil {
		return err
	}
	return layer.Mount()
}

// hidden are the paths of the host's root that containers do not see, without links: those would be seen as what they lead
// to. What is not there need not be hidden.
func (b *Backend) hidden() ([]string, error) {
	var paths []string
	for _, p := range b.hide() {
		real, err := filepath.EvalSymlinks(p)
		switch {
		case err == nil:
			paths = append(paths, real)
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR):
			return nil, fmt.Errorf("hide %s: %w", p, err)
		}
	}
	return paths, nil
}

func (b *Backend) hide() []string {
	return append([]string{
		"/boot", "/lost+found", "/media", "/mnt", "/srv",
		"/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/ssh", "/etc/ssl/private", "/etc/sudoers",
		"/etc/sudoers.d", "/etc/NetworkManager", "/etc/wireguard",
		"/var/backups", "/var/cache", "/var/crash", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers",
		"/var/lib/kubelet", "/var/local", "/var/log", "/var/mail", "/var/spool", "/var/vcap",
		b.depot.dir,
	}, append(b.homes(), b.opts.Hide...)...)
}

// makeNetwork makes the rules, before there is anything that could need them.
func (c *box) makeNetwork() error {
	if c.b.net == nil {
		return nil
	}
	return c.b.net.Add(c.slot.index)
}

func (c *box) connect() error {
	if c.b.net == nil {
		return nil
	}
	return c.b.net.Connect(c.slot.index, c.init.pid, c.limits.Bandwidth)
}

// checkMounts refuses bind mounts, all of whose paths are clean, that cannot be made.
func checkMounts(mounts []container.BindMount) error {
	for _, m := range mounts {
		if m.Dst == "/" {
			return fmt.Errorf("bind mount of %q at the root: %w", m.Src, container.ErrInvalid)
		}
		if _, err := os.Stat(m.Src); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("source path for bind mount: %w: %w", err, container.ErrInvalid)
		} else if err != nil {
			return fmt.Errorf("source path for bind mount: %w", err)
		}
	}
	return nil
}
