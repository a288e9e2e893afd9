package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
)

// A target is an egress rule that was understood.
type target struct {
	container.EgressRule
	first, last         netip.Addr // of all addresses if invalid
	lowPort, highPort   uint16     // of all ports if 0
	icmpType, icmpCodes *int
}

// Check tells whether a rule makes sense; if not, the error is container.ErrInvalid.
func Check(rule container.EgressRule) error {
	_, err := parse(rule)
	return err
}

func parse(rule container.EgressRule) (target, error) {
	t := target{EgressRule: rule}
	if err := rule.Validate(); err != nil {
		return t, err
	}
	var err error
	if t.first, t.last, err = parseNetwork(rule.Network); err != nil {
		return t, fmt.Errorf("egress rule with network %q: %w: %w", rule.Network, err, container.ErrInvalid)
	}
	if rule.Ports != "" && (rule.Protocol == container.TCP || rule.Protocol == container.UDP) {
		if t.lowPort, t.highPort, err = parsePorts(rule.Ports); err != nil {
			return t, fmt.Errorf("egress rule with ports %q: %w: %w", rule.Ports, err, container.ErrInvalid)
		}
	}
	if rule.Protocol == container.ICMP {
		if t.icmpType, err = icmpNumber(rule.ICMPType); err == nil {
			t.icmpCodes, err = icmpNumber(rule.ICMPCode)
		}
	}
	return t, err
}

func parseNetwork(text string) (first, last netip.Addr, err error) {
	if text == "" {
		return first, last, nil
	}
	from, to, isRange := strings.Cut(text, "-")
	switch {
	case isRange:
		if first, err = netip.ParseAddr(strings.TrimSpace(from)); err != nil {
			return first, last, err
		}
		last, err = netip.ParseAddr(strings.TrimSpace(to))
	case strings.Contains(text, "/"):
		prefix, err := netip.ParsePrefix(text)
		if err != nil || !prefix.Addr().Is4() {
			return first, last, fmt.Errorf("it is no IPv4 network")
		}
		first, last = bounds(prefix)
	default:
		first, err = netip.ParseAddr(text)
		last = first
	}
	if err == nil && (!first.Is4() || !last.Is4() || last.Less(first)) {
		err = fmt.Errorf("it is no range of IPv4 addresses")
	}
	return first, last, err
}

// bounds returns the first and the last address of a network.
func bounds(p netip.Prefix) (first, last netip.Addr) {
	first = p.Masked().Addr()
	a := first.As4()
	number := binary.BigEndian.Uint32(a[:]) | uint32(uint64(1)<<(32-p.Bits())-1)
	binary.BigEndian.PutUint32(a[:], number)
	return first, netip.AddrFrom4(a)
}

func parsePorts(text string) (low, high uint16, err error) {
	from, to, isRange := strings.Cut(text, ":")
	if !isRange {
		to = from
	}
	l, err := strconv.ParseUint(from, 10, 16)
	if err != nil {
		return 0, 0, err
	}
	h, err := strconv.ParseUint(to, 10, 16)
	if err == nil && (l == 0 || h < l) {
		err = fmt.Errorf("it is no range of ports")
	}
	return uint16(l), uint16(h), err
}

// icmpNumber returns nil for any: nil or -1.
func icmpNumber(n *int) (*int, error) {
	if n == nil || *n == -1 {
		return nil, nil
	}
	if *n < 0 || *n > 255 {
		return nil, fmt.Errorf("egress rule with ICMP type or code %d: %w", *n, container.ErrInvalid)
	}
	return n, nil
}

// expressions returns what matches the packets that the rule allows, and lets them pass on to the next chain.
func (t target) expressions() []expr.Any {
	return append(t.match(), &expr.Verdict{Kind: expr.VerdictReturn})
}

// log returns what writes new connections that the rule allows to the kernel's log, but not more in a second than that can
// take: it is the container that makes them.
func (t target) log(prefix string) []expr.Any {
	return append(t.match(),
		&expr.Limit{Type: expr.LimitTypePkts, Rate: 10, Unit: expr.LimitTimeSecond, Burst: 50},
		&expr.Log{Key: 1 << unix.NFTA_LOG_PREFIX, Data: []byte(prefix)})
}

func (t target) match() []expr.Any {
	var list []expr.Any
	switch t.Protocol {
	case container.TCP:
		list = protocol(unix.IPPROTO_TCP)
	case container.UDP:
		list = protocol(unix.IPPROTO_UDP)
	case container.ICMP:
		list = protocol(unix.IPPROTO_ICMP)
	}
	if t.first.IsValid() {
		list = append(list, destination(t.first, t.last)...)
	}
	if !t.isLinkLocal() {
		list = append(list, elsewhere(linkLocal)...)
	}
	if t.lowPort > 0 {
		list = append(list, field(expr.PayloadBaseTransportHeader, 2, 2)...)
		list = append(list, between(port(t.lowPort), port(t.highPort))...)
	}
	for offset, number := range []*int{t.icmpType, t.icmpCodes} {
		if number != nil {
			list = append(list, field(expr.PayloadBaseTransportHeader, uint32(offset), 1)...)
			list = append(list, is([]byte{byte(*number)}))
		}
	}
	return list
}

// linkLocal are addresses of machines that stand beside this one (RFC 3927), at which clouds keep what is meant for it
// alone: the credentials of the machine. Only a rule that names them allows them.
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

func (t target) isLinkLocal() bool {
	return t.first.IsValid() && linkLocal.Contains(t.first) && linkLocal.Contains(t.last)
}

// elsewhere matches IPv4 addresses that packets go to, but for those of a network.
func elsewhere(p netip.Prefix) []expr.Any {
	first, last := bounds(p)
	list := []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, is([]byte{unix.NFPROTO_IPV4})}
	list = append(list, field(expr.PayloadBaseNetworkHeader, 16, 4)...)
	return append(list, &expr.Range{Op: expr.CmpOpNeq, Register: 1, FromData: first.AsSlice(), ToData: last.AsSlice()})
}

func port(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// protocol matches a protocol above IPv4.
func protocol(number byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, is([]byte{unix.NFPROTO_IPV4}),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, is([]byte{number}),
	}
}

// destination matches IPv4 addresses that packets go to.
func destination(first, last netip.Addr) []expr.Any {
	list := []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, is([]byte{unix.NFPROTO_IPV4})}
	list = append(list, field(expr.PayloadBaseNetworkHeader, 16, 4)...)
	return append(list, between(first.AsSlice(), last.AsSlice())...)
}

// source matches IPv4 addresses that packets come from.
func source(p netip.Prefix) []expr.Any {
	first, last := bounds(p)
	list := []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, is([]byte{unix.NFPROTO_IPV4})}
	list = append(list, field(expr.PayloadBaseNetworkHeader, 12, 4)...)
	return append(list, between(first.AsSlice(), last.AsSlice())...)
}

// field loads a part of the packet.
func field(base expr.PayloadBase, offset, size uint32) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: size}}
}

// is compares what was loaded.
func is(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

func between(low, high []byte) []expr.Any {
	return []expr.Any{
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: low},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: high},
	}
}

// from and to match packets of our interfaces.
func (n *Network) from() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, is([]byte(n.cfg.Prefix))}
}

func (n *Network) to() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, is([]byte(n.cfg.Prefix))}
}

func (n *Network) notTo() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte(n.cfg.Prefix)},
	}
}

// connTrack matches packets of which one of the bits is set.
func connTrack(key expr.CtKey, bits uint32) []expr.Any {
	mask := binary.NativeEndian.AppendUint32(nil, bits)
	return []expr.Any{
		&expr.Ct{Key: key, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func established() []expr.Any {
	return connTrack(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

// mapped matches connections that came to a mapped port.
func mapped() []expr.Any {
	const dstNAT = 1 << 5 // IPS_DST_NAT
	return connTrack(expr.CtKeySTATUS, dstNAT)
}

// refuse answers that there is nobody.
func refuse() []expr.Any {
	return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}}
}

func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }
