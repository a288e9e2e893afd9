package network

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// forwarding is the switch of the kernel without which nothing gets out of a container.
const forwarding = "/proc/sys/net/ipv4/ip_forward"

// Config tells about a network.
type Config struct {
	// Name is that of the nftables table; Prefix begins the names of the interfaces. Nothing else may use them.
	Name   string
	Prefix string

	// Pool is the IPv4 network that the containers' networks are taken from.
	Pool netip.Prefix

	// MTU of the interfaces, in bytes; 0 takes that of the host's default route.
	MTU int

	// Allow are the networks that every container may reach.
	Allow []netip.Prefix

	// DNS are the name servers that every container may ask, the host itself among them.
	DNS []netip.Addr
	// HostDNS lets containers ask the host itself, at any of its addresses.
	HostDNS bool

	// AllowHost lets containers reach what listens on the host.
	AllowHost bool
}

// A Network connects the containers of one depot. Containers are known by a number, from 0, below Size.
type Network struct {
	cfg Config

	mu    sync.Mutex
	ports map[uint16]mapping // by host port
}

type mapping struct {
	index int
	port  uint16 // of the container
}

// maxIndex is how many names of interfaces there are: those that fit 15 characters.
const maxIndex = 99999

// New checks the configuration. It changes nothing.
func New(cfg Config) (*Network, error) {
	cfg.Pool = cfg.Pool.Masked()
	if !cfg.Pool.Addr().Is4() || cfg.Pool.Bits() > 30 {
		return nil, fmt.Errorf("pool %v is no IPv4 network of at least four addresses", cfg.Pool)
	}
	if len(cfg.Prefix) > 15-5 {
		return nil, fmt.Errorf("prefix %q is longer than 10 characters", cfg.Prefix)
	}
	return &Network{cfg: cfg, ports: map[uint16]mapping{}}, nil
}

// Size is how many containers the pool has networks for.
func (n *Network) Size() int {
	return min(1<<(30-n.cfg.Pool.Bits()), maxIndex+1)
}

// Addresses returns the host's address towards a container, and the container's.
func (n *Network) Addresses(index int) (host, container netip.Addr) {
	base := n.cfg.Pool.Addr().As4()
	number := uint32(base[0])<<24 | uint32(base[1])<<16 | uint32(base[2])<<8 | uint32(base[3])
	at := func(offset uint32) netip.Addr {
		a := number + 4*uint32(index) + offset
		return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
	}
	return at(1), at(2)
}

func (n *Network) link(index int) string { return fmt.Sprintf("%s%d", n.cfg.Prefix, index) }

// Forwarding tells whether the kernel forwards packets, as it does on machines that are routers.
func Forwarding() (bool, error) {
	text, err := os.ReadFile(forwarding)
	return strings.TrimSpace(string(text)) == "1", err
}

// EnableForwarding lets the kernel forward packets, and tells whether it did not before. That is a setting of the whole
// machine.
func EnableForwarding() (changed bool, err error) {
	on, err := Forwarding()
	if err != nil || on {
		return false, err
	}
	return true, os.WriteFile(forwarding, []byte("1"), 0o644)
}

// Probe tells what this machine lacks for networks, if anything. It changes nothing.
func Probe() error {
	conn, err := nftables.New()
	if err == nil {
		_, err = conn.ListTables()
	}
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	if _, err := netlink.LinkByName("lo"); err != nil {
		return fmt.Errorf("interfaces: %w", err)
	}
	return nil
}

// Sweep removes the interfaces of containers of which keep is false.
func (n *Network) Sweep(keep func(index int) bool) error {
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list interfaces: %w", err)
	}
	var errs []error
	for _, l := range links {
		rest, ours := strings.CutPrefix(l.Attrs().Name, n.cfg.Prefix)
		if !ours {
			continue
		}
		var index int
		if _, err := fmt.Sscanf(rest, "%d", &index); err == nil && keep(index) {
			continue
		}
		errs = append(errs, remove(l.Attrs().Name))
	}
	return errors.Join(errs...)
}

// remove removes an interface, and so its other end. It is no error when there is none.
func remove(name string) error {
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkDel(l)
	}
	var missing netlink.LinkNotFoundError
	if err == nil || errors.As(err, &missing) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return fmt.Errorf("remove interface %s: %w", name, err)
}

// mtu returns the MTU for interfaces.
func (n *Network) mtu() int {
	if n.cfg.MTU > 0 {
		return n.cfg.MTU
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return 1500
	}
	for _, r := range routes {
		if r.Dst != nil && r.Dst.IP != nil && !r.Dst.IP.IsUnspecified() {
			continue
		}
		if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			return cmp.Or(l.Attrs().MTU, 1500)
		}
	}
	return 1500
}
