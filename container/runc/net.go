package runc

import (
	"context"
	"errors"
	"fmt"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/network"
	"github.com/deakit/deakit/internal/hostport"
)

// NetIn maps a TCP port. Where containers share the host's network, both ports are one: they must be equal, or one of them
// zero.
func (c *box) NetIn(ctx context.Context, hostPort, containerPort uint16) (container.PortMapping, error) {
	m, err := c.netIn(ctx, hostPort, containerPort)
	if err != nil {
		return m, fmt.Errorf("map port %d to port %d of container %s: %w", hostPort, containerPort, c.handle, err)
	}
	return m, nil
}

func (c *box) netIn(ctx context.Context, hostPort, containerPort uint16) (none container.PortMapping, err error) {
	if err := c.usable(ctx); err != nil {
		return none, err
	}
	if c.b.net == nil {
		if hostPort == 0 {
			hostPort = containerPort
		}
		if containerPort != 0 && containerPort != hostPort {
			return none, fmt.Errorf("the ports differ, and the network is the host's: %w", container.ErrUnsupported)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.active(); err != nil { // held: a Destroy that comes now gives the port back
		return none, err
	}
	port := &boundPort{inside: containerPort}
	if hostPort == 0 {
		port.Port, err = c.b.ports.Draw()
	} else {
		port.Port, err = hostport.Reserve(hostPort)
	}
	if err != nil {
		return none, err
	}
	if port.inside == 0 {
		port.inside = port.Number()
	}
	// Written down first: a successor maps it anew, or gives it back.
	c.ports = append(c.ports, port)
	err = c.save()
	if err == nil && c.b.net != nil {
		err = c.b.net.MapPort(c.slot.index, port.mapping())
	}
	if err != nil {
		c.ports = c.ports[:len(c.ports)-1]
		port.Release()
		return none, errors.Join(err, c.save())
	}
	return port.mapping(), nil
}

// NetOut allows traffic; to link-local addresses (169.254.0.0/16), by a rule for nothing else only. Where containers share
// the host's network, rules are remembered only. What a rule logs are at most 10 connections in a second, after the first
// 50, with the name of the interface in front.
func (c *box) NetOut(ctx context.Context, rule container.EgressRule) error {
	if err := c.netOut(ctx, rule); err != nil {
		return fmt.Errorf("allow traffic out of container %s: %w", c.handle, err)
	}
	return nil
}

func (c *box) netOut(ctx context.Context, rule container.EgressRule) error {
	if err := c.usable(ctx); err != nil {
		return err
	}
	if err := network.Check(rule); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.active(); err != nil {
		return err
	}
	c.egress = append(c.egress, rule)
	err := c.save()
	if err == nil && c.b.net != nil {
		err = c.b.net.Allow(c.slot.index, rule)
	}
	if err != nil {
		c.egress = c.egress[:len(c.egress)-1]
		err = errors.Join(err, c.save()) // a successor must not allow it either
	}
	return err
}
