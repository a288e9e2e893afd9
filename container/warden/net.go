package warden

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
)

func (c *session) netIn(g *guest, r *protocol.NetInRequest) (*protocol.NetInResponse, error) {
	if r.GetHostPort() > math.MaxUint16 || r.GetContainerPort() > math.MaxUint16 {
		return nil, fmt.Errorf("port %d or %d is above %d: %w", r.GetHostPort(), r.GetContainerPort(), math.MaxUint16, container.ErrInvalid)
	}
	host, inside := uint16(r.GetHostPort()), uint16(r.GetContainerPort())
	if inside == 0 {
		inside = host
	}
	m, err := g.c.NetIn(c.s.ctx, host, inside)
	if err != nil {
		return nil, err
	}
	return &protocol.NetInResponse{
		HostPort: proto.Uint32(uint32(m.HostPort)), ContainerPort: proto.Uint32(uint32(m.ContainerPort)),
	}, nil
}

var protocols = map[protocol.NetOutRequest_Protocol]container.Protocol{
	protocol.NetOutRequest_TCP: container.TCP, protocol.NetOutRequest_UDP: container.UDP,
	protocol.NetOutRequest_ICMP: container.ICMP, protocol.NetOutRequest_ALL: container.AllProtocols,
}

func (c *session) netOut(g *guest, r *protocol.NetOutRequest) (*protocol.NetOutResponse, error) {
	if r.Network == nil && r.Port == nil && r.PortRange == nil {
		return nil, errors.New("Please specify network, port, and/or port_range.")
	}
	rule := container.EgressRule{Protocol: protocols[r.GetProtocol()], Network: r.GetNetwork(), Log: r.GetLog()}
	switch {
	case r.PortRange != nil:
		if err := checkPortRange(r.GetPortRange()); err != nil {
			return nil, err
		}
		rule.Ports = r.GetPortRange()
	case r.Port != nil:
		rule.Ports = strconv.Itoa(int(r.GetPort()))
	}
	if rule.Protocol == container.ICMP {
		rule.ICMPType, rule.ICMPCode = unlessAny(r.IcmpType), unlessAny(r.IcmpCode)
	}
	if err := g.c.NetOut(c.s.ctx, rule); err != nil {
		return nil, err
	}
	return &protocol.NetOutResponse{}, nil
}

// allow lets a new container reach what all may reach.
func (s *Server) allow(c container.Container) error {
	for _, network := range s.cfg.AllowNetworks {
		if err := c.NetOut(s.ctx, container.EgressRule{Protocol: container.AllProtocols, Network: network}); err != nil {
			return err
		}
	}
	return nil
}

// isNetwork tells whether text is one for an egress rule.
func isNetwork(text string) bool {
	if _, err := netip.ParsePrefix(text); err == nil {
		return true
	}
	first, last, isRange := strings.Cut(text, "-")
	low, err := netip.ParseAddr(first)
	if err != nil || !isRange {
		return err == nil
	}
	high, err := netip.ParseAddr(last)
	return err == nil && low.BitLen() == high.BitLen() && !high.Less(low)
}

// checkPortRange refuses equal bounds too, as the original does.
func checkPortRange(text string) error {
	low, high, found := strings.Cut(text, ":")
	first, err := strconv.ParseUint(low, 10, 16)
	last, err2 := strconv.ParseUint(high, 10, 16)
	if !found || err != nil || err2 != nil {
		return fmt.Errorf("port range %q is not of the form 8080:9090: %w", text, container.ErrInvalid)
	}
	if first >= last {
		return errors.New(textPortRange)
	}
	return nil
}

// unlessAny returns nil for -1, which means any.
func unlessAny(n *int32) *int {
	if n == nil || *n == -1 {
		return nil
	}
	value := int(*n)
	return &value
}
