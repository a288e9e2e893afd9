package runc

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/rootfs"
	"github.com/deakit/deakit/internal/hostport"
)

// DiskMode tells where the files that containers write stand.
type DiskMode = rootfs.DiskMode

// The modes of Options.Disk.
const (
	// DiskDirectory: in directories of the depot. Disk limits are not enforced.
	DiskDirectory = rootfs.DiskDirectory
	// DiskLoop: each in a file system of its own, in a sparse file. Disk limits are enforced, those of inodes if they are
	// given when the container is made. It needs loop devices and the program mkfs.ext4.
	DiskLoop = rootfs.DiskLoop
	// DiskMemory: in memory, which counts for the memory limit of the container, but for what StreamIn writes, which
	// counts for this process. Disk limits are enforced.
	DiskMemory = rootfs.DiskMemory
)

// PortRange is a range of ports, both ends included.
type PortRange = hostport.Range

// Options are the options of [New]. Depot is required; zero takes the default of the others.
type Options struct {
	// Depot is the directory for the files of the containers, and for what is unpacked of tarballs. It is made if need be.
	// It must be empty or have been a depot of this package before: what is in it is adopted or removed. It must stay at
	// its path as long as there are containers, and programs must be allowed to run from it (no mount option noexec). It
	// must belong to this process's user, and nobody else may write to it.
	Depot string

	// Fresh ends and removes the containers that an earlier back end left in the depot, where New otherwise adopts
	// them. It is for those who know of no container but those that they made themselves.
	Fresh bool

	// Runtime is the runc program: a path, or a name that is looked up in PATH. Default "runc". crun is not supported.
	Runtime string

	// RootFS is the base of containers whose Spec names none: a directory, or a tarball, maybe compressed, which is
	// unpacked once. Default "/", the root of the host, without what Hide tells.
	RootFS string

	// Hide are paths that containers do not see of a base that is "/", besides those that hold secrets on an ordinary
	// system: the homes (without root also the caller's, wherever it is), /etc/shadow, /etc/ssh, /run, /srv, /mnt, /media,
	// the depot, and others. They must be absolute; where they are links, or links are on the way, what they lead to is
	// hidden.
	Hide []string

	// Disk is where the files stand that containers write. Default DiskLoop where it works, else DiskDirectory.
	Disk DiskMode

	// DiskMax is the size of a disk without a limit, and the most that a limit can be, in bytes. It has no effect on
	// DiskDirectory. Default 16 GiB; it takes a few MiB for each container unless it is filled.
	DiskMax int64

	// MaxPIDs bounds the processes and threads of containers that ask for no limit. Default 4096; negative: none.
	MaxPIDs int64

	// UIDs are the user ids that are given to container.AppUser, a different one in each container: from UIDs on. Default
	// 400000; 10000 with UserNamespace and without root, there less where there are few. No account of the host should have
	// one of them, nor of a user namespace.
	UIDs int

	// UserNamespace lets containers have a user namespace: their ids 0 to 65535 are those of the host from this one on,
	// which no account should have, and root in a container is an ordinary user to the host. Default 0: they have none. It
	// must stay the same as long as there are containers, and the way to the depot must be open to all users (o+x). It takes
	// Linux 5.19, and root: without, containers are in the user namespace of this process.
	UserNamespace int

	Network NetworkOptions

	// StopGrace is how long processes have to act on SIGTERM. Default 10 s (Warden).
	StopGrace time.Duration

	// Ports are those of the host that NetIn draws from. The default is what lies behind the kernel's range for outgoing
	// connections, 61000 to 65535 on most machines.
	Ports PortRange

	// HostIP is the address at which mapped ports are reached, as Info tells. They are reached at all addresses of the
	// machine. Default 127.0.0.1; a node tells its own.
	HostIP string

	// Logger may be nil: nothing is logged.
	Logger *slog.Logger
}

// NetworkOptions are about the network of containers.
type NetworkOptions struct {
	// Host lets containers share the network of the host: ports are not mapped, and nothing is confined but abstract Unix
	// sockets, and these on Linux 6.12 or later. Without root they always do.
	Host bool

	// Pool is the IPv4 network that containers' networks are taken from, four addresses for each. Default 10.254.0.0/20,
	// enough for 1024 containers. It must not be in use elsewhere.
	Pool string

	// MTU of the containers' interfaces, in bytes. Default that of the host's default route.
	MTU int

	// Allow are IPv4 networks (CIDR) that every container may reach, without NetOut: all with "0.0.0.0/0". Default none. As
	// in rules of NetOut, link-local addresses (169.254.0.0/16), at which clouds keep the credentials of the machine, are
	// in none but those that lie in that network.
	Allow []string

	// DNS are the name servers of containers, IPv4 addresses, which they may always ask. Default those of the host, as
	// far as they can be reached; if that has none but itself, the host.
	DNS []string

	// AllowHost lets containers reach what listens on the host itself. Default false.
	AllowHost bool
}

const (
	defaultPool = "10.254.0.0/20"
	defaultUIDs = 400_000
	defaultPIDs = 4096
	defaultDisk = 16 << 30
	maxID       = 1<<32 - 2 // the last one means none
)

func (o Options) withDefaults() (Options, error) {
	if o.Depot == "" {
		return o, fmt.Errorf("option Depot is missing: %w", container.ErrInvalid)
	}
	if o.StopGrace < 0 || o.DiskMax < 0 || o.UIDs < 0 || o.UserNamespace < 0 || o.Network.MTU < 0 {
		return o, fmt.Errorf("option StopGrace, DiskMax, UIDs, UserNamespace or Network.MTU is negative: %w", container.ErrInvalid)
	}
	if o.Ports == (PortRange{}) {
		o.Ports = hostport.Default()
	}
	if o.Ports.First == 0 || o.Ports.First > o.Ports.Last {
		return o, fmt.Errorf("option Ports from %d to %d: %w", o.Ports.First, o.Ports.Last, container.ErrInvalid)
	}
	if o.UserNamespace > maxID-rootfs.ShiftedIDs {
		return o, fmt.Errorf("option UserNamespace is %d, and ids end at %d: %w", o.UserNamespace, maxID, container.ErrInvalid)
	}
	switch o.Disk {
	case "", DiskDirectory, DiskLoop, DiskMemory:
	default:
		return o, fmt.Errorf("option Disk %q is none of %q, %q, %q: %w",
			o.Disk, DiskDirectory, DiskLoop, DiskMemory, container.ErrInvalid)
	}
	for _, p := range o.Hide {
		if !filepath.IsAbs(p) {
			return o, fmt.Errorf("option Hide: %q is not absolute: %w", p, container.ErrInvalid)
		}
	}
	o.Runtime = cmp.Or(o.Runtime, "runc")
	o.RootFS = cmp.Or(o.RootFS, "/")
	if !filepath.IsAbs(o.RootFS) {
		return o, fmt.Errorf("option RootFS: %q is not absolute: %w", o.RootFS, container.ErrInvalid)
	}
	o.DiskMax = cmp.Or(o.DiskMax, defaultDisk)
	o.MaxPIDs = cmp.Or(o.MaxPIDs, defaultPIDs)
	o.Network.Pool = cmp.Or(o.Network.Pool, defaultPool)
	o.StopGrace = cmp.Or(o.StopGrace, 10*time.Second)
	o.HostIP = cmp.Or(o.HostIP, "127.0.0.1")
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// prefixes reads networks.
func prefixes(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil || !p.Addr().Is4() {
			return nil, fmt.Errorf("option Network.Allow: %q is no IPv4 network: %w", text, container.ErrInvalid)
		}
		out = append(out, p)
	}
	return out, nil
}
