package warden

import (
	"context"
	"errors"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
	"github.com/deakit/deakit/internal/containerkit"
)

// SetLimits replaces the limits. Those that the protocol, or the server, cannot set are remembered only.
func (c *box) SetLimits(ctx context.Context, limits container.Limits) error {
	err := containerkit.CheckLimits(limits)
	if err == nil {
		err = c.present(ctx)
	}
	if err == nil {
		err = c.changeLimits(ctx, limits)
	}
	if err != nil {
		return c.fail("limit", err)
	}
	return nil
}

func (c *box) changeLimits(ctx context.Context, limits container.Limits) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.setLimits(ctx, limits); err != nil {
		return err
	}
	return c.save()
}

// setLimits sends what differs from the limits that are set. c.mu is held, or nobody else knows the box.
func (c *box) setLimits(ctx context.Context, limits container.Limits) error {
	now := &c.record.Limits
	if limits.CPUShares != now.CPUShares {
		shares := limits.CPUShares
		if shares == 0 {
			shares = defaultShares
		}
		request := &protocol.LimitCpuRequest{Handle: &c.handle, LimitInShares: proto.Uint64(uint64(shares))}
		if err := limit[*protocol.LimitCpuResponse](ctx, c, request); err != nil {
			return err
		}
		now.CPUShares = limits.CPUShares
	}
	if limits.DiskBytes != now.DiskBytes || limits.DiskInodes != now.DiskInodes {
		request := &protocol.LimitDiskRequest{
			Handle: &c.handle, Byte: proto.Uint64(uint64(limits.DiskBytes)), Inode: proto.Uint64(uint64(limits.DiskInodes)),
		}
		if err := limit[*protocol.LimitDiskResponse](ctx, c, request); err != nil {
			return err
		}
		now.DiskBytes, now.DiskInodes = limits.DiskBytes, limits.DiskInodes
	}
	if limits.MemoryBytes != now.MemoryBytes {
		bytes := uint64(noMemoryLimit)
		if limits.MemoryBytes > 0 {
			bytes = uint64(limits.MemoryBytes)
		}
		request := &protocol.LimitMemoryRequest{Handle: &c.handle, LimitInBytes: &bytes}
		if err := limit[*protocol.LimitMemoryResponse](ctx, c, request); err != nil {
			return err
		}
		now.MemoryBytes = limits.MemoryBytes
	}
	if err := c.setBandwidth(ctx, limits.Bandwidth); err != nil {
		return err
	}
	now.CPUQuota, now.PIDs = limits.CPUQuota, limits.PIDs // there are no requests for these
	return nil
}

func (c *box) setBandwidth(ctx context.Context, b *container.Bandwidth) error {
	now := c.record.Limits.Bandwidth
	if b == nil && now == nil || b != nil && now != nil && *b == *now {
		return nil
	}
	request := &protocol.LimitBandwidthRequest{Handle: &c.handle, Rate: proto.Uint64(noBandwidth), Burst: proto.Uint64(noBandwidth)}
	if b != nil {
		request.Rate, request.Burst = proto.Uint64(uint64(b.BytesPerSecond)), proto.Uint64(uint64(b.BurstBytes))
	}
	if err := limit[*protocol.LimitBandwidthResponse](ctx, c, request); err != nil {
		return err
	}
	c.record.Limits.Bandwidth = containerkit.CloneLimits(container.Limits{Bandwidth: b}).Bandwidth
	return nil
}

// limit sends a limit. That a server does not know it is no error: Capabilities say what is enforced.
func limit[R proto.Message](ctx context.Context, c *box, request proto.Message) error {
	_, err := quick[R](ctx, c.b, request)
	return unlessNotDone(err)
}

// unlessNotDone passes over what the insecure containers of the original say to most requests.
func unlessNotDone(err error) error {
	var refused *ServerError
	if errors.As(err, &refused) && refused.Text == textNotDone {
		return nil
	}
	return err
}

// NetIn maps a port.
func (c *box) NetIn(ctx context.Context, hostPort, containerPort uint16) (container.PortMapping, error) {
	request := &protocol.NetInRequest{Handle: &c.handle}
	if hostPort != 0 {
		request.HostPort = proto.Uint32(uint32(hostPort))
	}
	if containerPort != 0 {
		request.ContainerPort = proto.Uint32(uint32(containerPort))
	}
	r, err := quick[*protocol.NetInResponse](ctx, c.b, request)
	if err != nil {
		return container.PortMapping{}, c.fail("map a port of", err)
	}
	m := container.PortMapping{HostPort: uint16(r.GetHostPort()), ContainerPort: uint16(r.GetContainerPort())}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record.Ports = append(c.record.Ports, m)
	if err := c.save(); err != nil {
		return container.PortMapping{}, c.fail("map a port of", err)
	}
	return m, nil
}

var verbsOut = map[container.Protocol]protocol.NetOutRequest_Protocol{
	container.TCP: protocol.NetOutRequest_TCP, container.UDP: protocol.NetOutRequest_UDP,
	container.ICMP: protocol.NetOutRequest_ICMP, container.AllProtocols: protocol.NetOutRequest_ALL,
}

// everywhere is the network of a rule without one; a request must have one, or a port.
const everywhere = "0.0.0.0/0"

// NetOut allows traffic out of the container.
func (c *box) NetOut(ctx context.Context, rule container.EgressRule) error {
	err := rule.Validate()
	if err == nil {
		_, err = quick[*protocol.NetOutResponse](ctx, c.b, c.netOutRequest(rule))
	}
	if err = unlessNotDone(err); err != nil {
		return c.fail("allow traffic out of", err)
	}
	return nil
}

func (c *box) netOutRequest(rule container.EgressRule) *protocol.NetOutRequest {
	request := &protocol.NetOutRequest{Handle: &c.handle, Protocol: verbsOut[rule.Protocol].Enum(), Network: proto.String(everywhere)}
	if rule.Network != "" {
		request.Network = &rule.Network
	}
	if port, err := strconv.ParseUint(rule.Ports, 10, 16); err == nil {
		request.Port = proto.Uint32(uint32(port))
	} else if rule.Ports != "" {
		request.PortRange = &rule.Ports
	}
	request.IcmpType, request.IcmpCode = toInt32(rule.ICMPType), toInt32(rule.ICMPCode)
	if rule.Log {
		request.Log = &rule.Log
	}
	return request
}

func toInt32(n *int) *int32 {
	if n == nil {
		return nil
	}
	return proto.Int32(int32(*n))
}
