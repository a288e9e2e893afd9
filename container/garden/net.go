package garden

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/deakit/deakit/container"
)

// NetIn maps a port.
func (c *box) NetIn(ctx context.Context, hostPort, containerPort uint16) (container.PortMapping, error) {
	var m netIn
	err := c.whileActive(ctx, func() error {
		request := netIn{Handle: c.handle, HostPort: uint32(hostPort), ContainerPort: uint32(containerPort)}
		return c.b.client.quick(ctx, "POST", c.route("net", "in"), request, &m)
	})
	if err != nil {
		return container.PortMapping{}, c.fail("map a port of", err)
	}
	return container.PortMapping{HostPort: uint16(m.HostPort), ContainerPort: uint16(m.ContainerPort)}, nil
}

// NetOut allows traffic out of the container.
func (c *box) NetOut(ctx context.Context, rule container.EgressRule) error {
	r, err := translate(rule)
	if err == nil {
		err = c.whileActive(ctx, func() error { return c.b.client.quick(ctx, "POST", c.route("net", "out"), r, nil) })
	}
	if err != nil {
		return c.fail("allow traffic out of", err)
	}
	return nil
}

var protocols = map[container.Protocol]int{container.AllProtocols: 0, container.TCP: 1, container.UDP: 2, container.ICMP: 3}

func translate(rule container.EgressRule) (*netOutRule, error) {
	if err := rule.Validate(); err != nil {
		return nil, err
	}
	r := &netOutRule{Protocol: protocols[rule.Protocol], Log: rule.Log}
	if rule.Network != "" {
		network, err := parseNetwork(rule.Network)
		if err != nil {
			return nil, fmt.Errorf("network %q is no address, no CIDR and no range: %w", rule.Network, container.ErrInvalid)
		}
		r.Networks = []ipRange{network}
	}
	if rule.Ports != "" {
		ports, err := parsePorts(rule.Ports)
		if err != nil {
			return nil, fmt.Errorf("ports %q are no port and no range like 80:90: %w", rule.Ports, container.ErrInvalid)
		}
		r.Ports = []portRange{ports}
	}
	for _, n := range []*int{rule.ICMPType, rule.ICMPCode} {
		if n != nil && (*n < -1 || *n > math.MaxUint8) {
			return nil, fmt.Errorf("ICMP type or code %d is not between -1 and %d: %w", *n, math.MaxUint8, container.ErrInvalid)
		}
	}
	if rule.Protocol == container.ICMP && rule.ICMPType != nil && *rule.ICMPType >= 0 { // -1 is any
		r.ICMPs = &icmpControls{Type: uint8(*rule.ICMPType)}
		if rule.ICMPCode != nil && *rule.ICMPCode >= 0 {
			code := uint8(*rule.ICMPCode)
			r.ICMPs.Code = &code
		}
	}
	return r, nil
}

func parseNetwork(text string) (ipRange, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return ipRange{prefix.Masked().Addr().String(), lastOf(prefix).String()}, nil
	}
	first, last, isRange := strings.Cut(text, "-")
	start, err := netip.ParseAddr(first)
	if err != nil || !isRange {
		return ipRange{first, first}, err
	}
	end, err := netip.ParseAddr(last)
	if err == nil && (end.Less(start) || end.BitLen() != start.BitLen()) {
		err = fmt.Errorf("%s does not follow %s", end, start)
	}
	return ipRange{start.String(), end.String()}, err
}

// lastOf returns the last address of a network.
func lastOf(prefix netip.Prefix) netip.Addr {
	bytes := prefix.Addr().AsSlice()
	for bit := prefix.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes) // as long as it was
	return last
}

func parsePorts(text string) (portRange, error) {
	first, last, isRange := strings.Cut(text, ":")
	if !isRange {
		last = first
	}
	start, err := strconv.ParseUint(first, 10, 16)
	if err != nil {
		return portRange{}, err
	}
	end, err := strconv.ParseUint(last, 10, 16)
	if err == nil && end < start {
		err = fmt.Errorf("%d is less than %d", end, start)
	}
	return portRange{uint16(start), uint16(end)}, err
}
