package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
)

// State is what a container has in the table.
type State struct {
	Index int
	Ports []container.PortMapping
	Rules []container.EgressRule
}

// The table. Each container has a chain of its own, in which its packets are judged: to return is to allow.
func (n *Network) table() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyINet, Name: n.cfg.Name}
}

// portMap leads from a port of the host to address and port of a container.
func (n *Network) portMap() *nftables.Set {
	return &nftables.Set{
		Table: n.table(), Name: "ports", IsMap: true,
		KeyType: nftables.TypeInetService, KeyByteOrder: binaryutil.BigEndian,
		DataType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService),
	}
}

// sourceMap leads from the interface of a container to its chain.
func (n *Network) sourceMap() *nftables.Set {
	return &nftables.Set{
		Table: n.table(), Name: "sources", IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeVerdict,
	}
}

func (n *Network) chain(index int) *nftables.Chain {
	return &nftables.Chain{Table: n.table(), Name: "container-" + strconv.Itoa(index)}
}

// Setup makes the table anew, with what the containers given have.
func (n *Network) Setup(states []State) error {
	if err := n.setup(states); err != nil {
		return fmt.Errorf("set up network rules: %w", err)
	}
	return nil
}

func (n *Network) setup(states []State) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	// The first makes sure that there is one to be removed.
	conn.AddTable(n.table())
	conn.DelTable(n.table())
	conn.AddTable(n.table())
	for _, set := range []*nftables.Set{n.portMap(), n.sourceMap()} {
		if err := conn.AddSet(set, nil); err != nil {
			return err
		}
	}
	n.filter(conn)
	n.translate(conn)
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.ports)
	for _, s := range states {
		if err := n.add(conn, s.Index); err != nil {
			return err
		}
		for _, rule := range s.Rules {
			if err := n.allow(conn, s.Index, rule); err != nil {
				return err
			}
		}
		for _, m := range s.Ports {
			if err := n.mapPort(conn, s.Index, m); err != nil {
				return err
			}
		}
	}
	return conn.Flush()
}

// filter makes the chains that judge packets from and to containers.
func (n *Network) filter(conn *nftables.Conn) {
	policy := nftables.ChainPolicyAccept
	forward := conn.AddChain(&nftables.Chain{
		Table: n.table(), Name: "forward", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &policy,
	})
	input := conn.AddChain(&nftables.Chain{
		Table: n.table(), Name: "input", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter, Policy: &policy,
	})
	rule := func(chain *nftables.Chain, parts ...[]expr.Any) {
		conn.AddRule(&nftables.Rule{Table: n.table(), Chain: chain, Exprs: slices.Concat(parts...)})
	}
	rule(forward, n.from(), established(), accept())
	rule(forward, n.to(), established(), accept())
	rule(forward, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: n.sourceMap().Name, IsDestRegSet: true},
	})
	rule(forward, n.to(), mapped(), accept())
	rule(forward, n.to(), refuse())

	rule(input, n.from(), established(), accept())
	// A socket that is bound to its interface sends to the loopback of the host, too, without any privilege.
	first, last := bounds(loopback)
	rule(input, n.from(), destination(first, last), refuse())
	for _, server := range n.cfg.DNS { // which may be an address of the host
		for _, number := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			rule(input, n.from(), protocol(number), destination(server, server),
				field(expr.PayloadBaseTransportHeader, 2, 2), []expr.Any{is(port(53))}, accept())
		}
	}
	if n.cfg.HostDNS {
		for _, number := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			rule(input, n.from(), protocol(number), field(expr.PayloadBaseTransportHeader, 2, 2), []expr.Any{is(port(53))}, accept())
		}
	}
	if !n.cfg.AllowHost {
		rule(input, n.from(), refuse())
	}
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// translate makes the chains that translate addresses.
func (n *Network) translate(conn *nftables.Conn) {
	chain := func(name string, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		return conn.AddChain(&nftables.Chain{
			Table: n.table(), Name: name, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: priority,
		})
	}
	// To a mapped port of any address of the host; from elsewhere, and from the host itself.
	const local, addressRegister, portRegister = 2, 1, 9 // RTN_LOCAL; the second half of register 1
	toPort := slices.Concat(
		[]expr.Any{
			&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
			is(binary.NativeEndian.AppendUint32(nil, local)),
		},
		protocol(unix.IPPROTO_TCP),
		field(expr.PayloadBaseTransportHeader, 2, 2),
		[]expr.Any{
			&expr.Lookup{SourceRegister: 1, DestRegister: 1, SetName: n.portMap().Name, IsDestRegSet: true},
			&expr.NAT{
				Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4,
				RegAddrMin: addressRegister, RegProtoMin: portRegister,
			},
		},
	)
	for _, c := range []*nftables.Chain{
		chain("prerouting", nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest),
		chain("output", nftables.ChainHookOutput, nftables.ChainPriorityNATDest),
	} {
		conn.AddRule(&nftables.Rule{Table: n.table(), Chain: c, Exprs: toPort})
	}
	post := chain("postrouting", nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	masquerade := []expr.Any{&expr.Masq{}}
	for _, match := range [][]expr.Any{
		slices.Concat(source(n.cfg.Pool), n.notTo()),
		slices.Concat(source(loopback), n.to()), // else the answer would stay in the container
		slices.Concat(source(n.cfg.Pool), n.to(), mapped()),
	} {
		conn.AddRule(&nftables.Rule{Table: n.table(), Chain: post, Exprs: append(match, masquerade...)})
	}
}

// change applies what f says in one transaction.
func (n *Network) change(f func(*nftables.Conn) error) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := f(conn); err != nil {
		return err
	}
	return conn.Flush()
}

// Add makes the rules for a container, before it is connected: all is refused but what all may.
func (n *Network) Add(index int) error {
	err := n.change(func(conn *nftables.Conn) error { return n.add(conn, index) })
	if err != nil {
		return fmt.Errorf("add network rules: %w", err)
	}
	return nil
}

func (n *Network) add(conn *nftables.Conn, index int) error {
	chain := conn.AddChain(n.chain(index))
	conn.FlushChain(chain) // whatever was left of another container
	rule := func(exprs []expr.Any) { conn.AddRule(&nftables.Rule{Table: n.table(), Chain: chain, Exprs: exprs}) }
	for _, p := range n.cfg.Allow {
		t := target{EgressRule: container.EgressRule{Protocol: container.AllProtocols}}
		t.first, t.last = bounds(p)
		rule(t.expressions())
	}
	for _, server := range n.cfg.DNS {
		for _, p := range []container.Protocol{container.UDP, container.TCP} {
			t := target{EgressRule: container.EgressRule{Protocol: p}, first: server, last: server, lowPort: 53, highPort: 53}
			rule(t.expressions())
		}
	}
	rule(refuse())
	return conn.SetAddElements(n.sourceMap(), []nftables.SetElement{n.sourceOf(index)})
}

func (n *Network) sourceOf(index int) nftables.SetElement {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, n.link(index))
	return nftables.SetElement{
		Key:         name,
		VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: n.chain(index).Name},
	}
}

// Remove takes away the interface and the rules of a container.
func (n *Network) Remove(index int) error {
	// The interface first: without its chain nothing would be refused.
	if err := remove(n.link(index)); err != nil {
		return err
	}
	err := n.change(func(conn *nftables.Conn) error {
		var ports []nftables.SetElement
		for hostPort, m := range n.ports {
			if m.index == index {
				ports = append(ports, nftables.SetElement{Key: port(hostPort)})
				delete(n.ports, hostPort)
			}
		}
		if len(ports) > 0 {
			if err := conn.SetDeleteElements(n.portMap(), ports); err != nil {
				return err
			}
		}
		if err := conn.SetDeleteElements(n.sourceMap(), []nftables.SetElement{n.sourceOf(index)}); err != nil {
			return err
		}
		conn.FlushChain(n.chain(index))
		conn.DelChain(n.chain(index))
		return nil
	})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove network rules: %w", err)
	}
	return nil
}

// Allow lets the container reach what the rule says. Later rules come first.
func (n *Network) Allow(index int, rule container.EgressRule) error {
	return n.change(func(conn *nftables.Conn) error { return n.allow(conn, index, rule) })
}

func (n *Network) allow(conn *nftables.Conn, index int, rule container.EgressRule) error {
	t, err := parse(rule)
	if err != nil {
		return err
	}
	insert := func(exprs []expr.Any) {
		conn.InsertRule(&nftables.Rule{Table: n.table(), Chain: n.chain(index), Exprs: exprs})
	}
	insert(t.expressions())
	if t.Log {
		insert(t.log(n.link(index) + " "))
	}
	return nil
}

// MapPort makes a port of the container reachable at all addresses of the host.
func (n *Network) MapPort(index int, m container.PortMapping) error {
	err := n.change(func(conn *nftables.Conn) error { return n.mapPort(conn, index, m) })
	if err != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.ports, m.HostPort) // else Remove would look for it
		return fmt.Errorf("map port %d: %w", m.HostPort, err)
	}
	return nil
}

func (n *Network) mapPort(conn *nftables.Conn, index int, m container.PortMapping) error {
	_, own := n.Addresses(index)
	// Each part of a value takes four bytes.
	value := append(own.AsSlice(), append(port(m.ContainerPort), 0, 0)...)
	n.ports[m.HostPort] = mapping{index, m.ContainerPort}
	return conn.SetAddElements(n.portMap(), []nftables.SetElement{{Key: port(m.HostPort), Val: value}})
}

// Close removes the table. The containers have been removed before.
func (n *Network) Close() error {
	err := n.change(func(conn *nftables.Conn) error {
		conn.AddTable(n.table())
		conn.DelTable(n.table())
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove network rules: %w", err)
	}
	return nil
}
