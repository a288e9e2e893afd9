package runc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/cgroup"
	"github.com/deakit/deakit/container/runc/internal/network"
	"github.com/deakit/deakit/container/runc/internal/rootfs"
	"github.com/deakit/deakit/container/runc/userns"
	"github.com/deakit/deakit/internal/containerkit"
	"github.com/deakit/deakit/internal/hostport"
)

var (
	// ErrDepotInUse: another back end, of this or another process, works in the depot.
	ErrDepotInUse = errors.New("depot is in use")
	// ErrNotDepot: the directory holds something and was not made by this package. What a depot holds and is no container
	// is removed, so it must be a directory of its own.
	ErrNotDepot = errors.New("directory is not empty and not a depot of the runc back end")
	// ErrClosed: Close or Leave was called.
	ErrClosed = errors.New("back end is closed")
	// ErrMissing: this machine lacks something without which there are no containers; Doctor tells what.
	ErrMissing = errors.New("this machine lacks what containers need")
)

// Backend makes containers by runc. It implements container.Backend.
type Backend struct {
	opts    Options
	depot   *depot
	boot    string     // stands for the time since the machine started
	runtime string     // path of runc
	ids     userns.IDs // Inside: without root
	groups  *cgroup.Hierarchy
	net     *network.Network // nil where containers share the host's
	dns     nameServers
	bases   *rootfs.Bases
	disk    rootfs.DiskConfig
	ports   *hostport.Pool
	slots   *slotPool
	seccomp *specs.LinuxSeccomp
	caps    container.Capabilities
	files   *fileWatch
	shift   *rootfs.Shift // nil if containers have no user namespace
	ended   chan struct{} // closed by Close and Leave
	log     *slog.Logger

	fleet containerkit.Fleet[box]
	work  sync.WaitGroup // all goroutines but those that read a caller's input

	closing sync.Mutex // held by Close and Leave
	free    bool       // the depot was given back
}

var _ container.Backend = (*Backend)(nil)

// New opens a depot, adopts the containers that an earlier back end left there, and removes what else it left. The caller
// calls Close or Leave.
//
// Errors are ErrMissing, ErrDepotInUse, ErrNotDepot, container.ErrInvalid, and those of the system.
func New(opts Options) (*Backend, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open runc back end: %w", err)
	}
	b := &Backend{opts: opts, log: opts.Logger, boot: bootID(), ended: make(chan struct{}), ports: hostport.NewPool(opts.Ports)}
	if err := b.prepare(); err != nil {
		return nil, fmt.Errorf("open runc back end: %w", err)
	}
	if b.depot, err = openDepot(opts.Depot); err != nil {
		return nil, fmt.Errorf("open depot %s: %w", opts.Depot, err)
	}
	if err := b.open(); err != nil {
		b.letGo()
		return nil, errors.Join(fmt.Errorf("open depot %s: %w", opts.Depot, err), b.depot.close())
	}
	b.log.Info("containers are made by "+b.runtime, "depot", b.depot.dir, "disk", b.disk.Mode, "cgroups", b.groups.Layout(),
		"not_enforced", strings.Join(b.caps.Unenforced(), ", "))
	return b, nil
}

// prepare finds out about the machine, and changes nothing.
func (b *Backend) prepare() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("it takes root, or a user namespace that was entered before (package userns): %w", ErrMissing)
	}
	var err error
	if b.ids, err = userns.Current(); err != nil {
		return err
	}
	b.adjust()
	if err := b.checkIDs(); err != nil {
		return err
	}
	if b.runtime, err = exec.LookPath(b.opts.Runtime); err != nil {
		return fmt.Errorf("%w: %w: install the package runc", err, ErrMissing)
	}
	if b.groups, err = b.findGroups(); err != nil {
		return fmt.Errorf("%w: %w", err, ErrMissing)
	}
	if b.seccomp, err = seccompProfile(); err != nil {
		return err
	}
	if b.ids.Count == 1 {
		allowNesting(b.seccomp)
	}
	if b.dns, err = findNameServers(b.opts.Network.DNS); err != nil {
		return err
	}
	return nil
}

// open builds what stands on the depot, and takes over what is in it.
func (b *Backend) open() error {
	if b.opts.UserNamespace > 0 {
		err := passable(b.depot.dir)
		if err != nil {
			return err
		}
		if b.shift, err = rootfs.NewShift(b.opts.UserNamespace); err != nil {
			return fmt.Errorf("option UserNamespace: %w: %w", err, ErrMissing)
		}
	}
	b.bases = rootfs.NewBases(b.depot.path(basesName))
	b.disk = rootfs.DiskConfig{Mode: b.opts.Disk, MaxBytes: b.opts.DiskMax, Templates: b.depot.path(templatesName)}
	if b.disk.Mode == "" {
		b.disk.Mode = DiskDirectory
		if err := rootfs.CanLoop(); err == nil {
			b.disk.Mode = DiskLoop
		} else {
			b.log.Warn("disk limits are not enforced", "error", err)
		}
	}
	if !b.opts.Network.Host {
		var err error
		if b.net, err = b.newNetwork(); err != nil {
			return err
		}
	}
	b.slots = newSlotPool(b.opts.UIDs, b.slotCount(), b.net, b.ids, b.opts.UserNamespace)
	b.caps = b.capabilities()
	var err error
	if b.files, err = newFileWatch(b.log); err != nil {
		return err
	}
	b.work.Go(b.files.run)
	if b.caps.Memory == container.Watched {
		b.work.Go(b.watchMemory)
	}
	return b.takeOver()
}

func (b *Backend) newNetwork() (*network.Network, error) {
	allow, err := prefixes(b.opts.Network.Allow)
	if err != nil {
		return nil, err
	}
	pool, err := parsePool(b.opts.Network.Pool)
	if err != nil {
		return nil, err
	}
	return network.New(network.Config{
		Name: "deakit_" + b.depot.mark, Prefix: "dk" + b.depot.mark[:6] + "-", Pool: pool, MTU: b.opts.Network.MTU,
		Allow: allow, DNS: b.dns.servers, HostDNS: b.dns.host, AllowHost: b.opts.Network.AllowHost,
	})
}

func (b *Backend) capabilities() container.Capabilities {
	enforced := func(controller string) container.Enforcement {
		if b.groups.Has(controller) {
			return container.ByKernel
		}
		return container.NotEnforced
	}
	caps := container.Capabilities{
		Name: "runc", RootFS: true, ReadOnlyMounts: true, Processes: true, Survives: !b.opts.Fresh,
		Network: b.net != nil, PortMapping: b.net != nil, EgressRules: b.net != nil,
		Memory: enforced("memory"), CPU: enforced("cpu"), PIDs: enforced("pids"),
	}
	caps.Users = b.ids.Count > 1
	caps.Memory = cmp.Or(caps.Memory, container.Watched)
	if b.disk.Mode != DiskDirectory {
		caps.Disk = container.ByKernel
	}
	if b.net != nil {
		caps.Bandwidth = container.ByKernel
	}
	return caps
}

// Capabilities tells what is enforced on this machine, with these options.
func (b *Backend) Capabilities() container.Capabilities { return b.caps }

// Lookup finds a container that this back end made or adopted.
func (b *Backend) Lookup(ctx context.Context, handle string) (container.Container, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("look up container %q: %w", handle, err)
	}
	c := b.fleet.Find(handle)
	if c == nil || c.usable(ctx) != nil {
		return nil, fmt.Errorf("look up container %q: %w", handle, container.ErrNotFound)
	}
	return c, nil
}

// List returns the handles of all containers, but of those that are being made or destroyed.
func (b *Backend) List(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var handles []string
	for _, c := range b.fleet.All() {
		if c.usable(ctx) == nil {
			handles = append(handles, c.handle)
		}
	}
	return handles, nil
}
