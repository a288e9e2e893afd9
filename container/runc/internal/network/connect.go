package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/deakit/deakit/container"
)

// inside is the name of the interface in a container.
const inside = "eth0"

// Connect gives the container, whose network namespace is that of the process pid, its interface. Add was called before.
// What is left when it fails Remove takes away.
func (n *Network) Connect(index, pid int, limit *container.Bandwidth) error {
	if err := n.connect(index, pid); err != nil {
		return fmt.Errorf("connect container to its network: %w", err)
	}
	if limit == nil {
		return nil
	}
	return n.SetBandwidth(index, pid, limit)
}

func (n *Network) connect(index, pid int) error {
	ns, handle, err := enter(pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	defer handle.Close()

	name, mtu := n.link(index), n.mtu()
	if err := remove(name); err != nil { // of a container that was not removed
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerNamespace, pair.PeerMTU = inside, netlink.NsFd(ns), uint32(mtu)
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("make interface %s: %w", name, err)
	}
	if err := configure(name); err != nil {
		return err
	}
	host, own := n.Addresses(index)
	theirs, err := handle.LinkByName(inside)
	if err != nil {
		return err
	}
	lo, err := handle.LinkByName("lo")
	if err != nil {
		return err
	}
	steps := []struct {
		what string
		do   func() error
	}{
		{"address of the host", func() error { return netlink.AddrAdd(pair, address(host)) }},
		{"interface of the host", func() error { return netlink.LinkSetUp(pair) }},
		{"loopback", func() error { return handle.LinkSetUp(lo) }},
		{"address", func() error { return handle.AddrAdd(theirs, address(own)) }},
		{"interface", func() error { return handle.LinkSetUp(theirs) }},
		{"default route", func() error {
			return handle.RouteAdd(&netlink.Route{LinkIndex: theirs.Attrs().Index, Gw: host.AsSlice()})
		}},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

// enter returns what speaks to the network namespace of a process. The caller closes both.
func enter(pid int) (netns.NsHandle, *netlink.Handle, error) {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return ns, nil, fmt.Errorf("network namespace of process %d: %w", pid, err)
	}
	handle, err := netlink.NewHandleAt(ns)
	if err != nil {
		ns.Close()
		return ns, nil, fmt.Errorf("network namespace of process %d: %w", pid, err)
	}
	return ns, handle, nil
}

func address(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(30, 32)}}
}

// configure sets what the kernel does with packets at the host's end, before there are any.
func configure(name string) error {
	for _, s := range []struct{ key, value string }{
		// No second way, past the rules, by addresses that the kernel gives itself.
		{"ipv6/conf/%s/disable_ipv6", "1"},
		// Mapped ports answer at 127.0.0.1 too. Packets that a container sends there the rules refuse.
		{"ipv4/conf/%s/route_localnet", "1"},
		// Nobody speaks with the address of another.
		{"ipv4/conf/%s/rp_filter", "1"},
	} {
		path := filepath.Join("/proc/sys/net", fmt.Sprintf(s.key, name))
		err := os.WriteFile(path, []byte(s.value), 0o644)
		if err != nil && !(os.IsNotExist(err) && s.key[3] == '6') { // a kernel without IPv6
			return fmt.Errorf("configure interface %s: %w", name, err)
		}
	}
	return nil
}

// burstTicks is how the kernel counts bursts: in ticks of 64 ns that sending them takes.
func burstTicks(limit container.Bandwidth) uint32 {
	return uint32(min(float64(burst(limit))*1e9/64/float64(limit.BytesPerSecond), 1<<31))
}

// burst returns the bytes that may go at once, which must be at least one packet.
func burst(limit container.Bandwidth) int64 { return max(limit.BurstBytes, 64<<10) }

// SetBandwidth limits the traffic of a container in each direction; nil takes the limit away.
func (n *Network) SetBandwidth(index, pid int, limit *container.Bandwidth) error {
	if err := n.setBandwidth(index, pid, limit); err != nil {
		return fmt.Errorf("limit bandwidth: %w", err)
	}
	return nil
}

func (n *Network) setBandwidth(index, pid int, limit *container.Bandwidth) error {
	ns, handle, err := enter(pid)
	if err != nil {
		return err
	}
	defer ns.Close()
	defer handle.Close()
	ours, err := netlink.LinkByName(n.link(index))
	if err != nil {
		return err
	}
	theirs, err := handle.LinkByName(inside)
	if err != nil {
		return err
	}
	here, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer here.Close()
	// What leaves the host goes in, and what leaves the container goes out: it may not change its own interface.
	if err := shape(here, ours, limit); err != nil {
		return err
	}
	return shape(handle, theirs, limit)
}

func shape(handle *netlink.Handle, l netlink.Link, limit *container.Bandwidth) error {
	attrs := netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
	if limit == nil || limit.BytesPerSecond <= 0 {
		list, err := handle.QdiscList(l)
		if err != nil {
			return err
		}
		for _, q := range list {
			if q.Type() == "tbf" {
				return handle.QdiscDel(q)
			}
		}
		return nil
	}
	const latency = 25e-3 // seconds, as Warden has it
	queue := float64(limit.BytesPerSecond)*latency + float64(burst(*limit))
	return handle.QdiscReplace(&netlink.Tbf{
		QdiscAttrs: attrs,
		Rate:       uint64(limit.BytesPerSecond),
		Limit:      uint32(min(queue, 1<<31)),
		Buffer:     burstTicks(*limit),
	})
}
