package process

import (
	"context"
	"fmt"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/hostport"
)

// NetIn reserves a port. Processes share the host's network, so both ports are one: they must be equal, or one of them
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
	if hostPort == 0 {
		hostPort = containerPort
	}
	if containerPort != 0 && containerPort != hostPort {
		return none, fmt.Errorf("the ports differ: %w", container.ErrUnsupported)
	}
	var port *hostport.Port
	if hostPort == 0 {
		port, err = c.b.ports.Draw()
	} else {
		port, err = hostport.Reserve(hostPort)
	}
	if err != nil {
		return none, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err = c.present()
	if err == nil && c.state != container.StateActive {
		err = container.ErrStopped
	}
	if err != nil { // checked here, so that a Destroy that came between gives the port back
		port.Release()
		return none, err
	}
	c.ports = append(c.ports, port)
	if err := c.save(); err != nil {
		c.ports = c.ports[:len(c.ports)-1]
		port.Release()
		return none, err
	}
	return container.PortMapping{HostPort: port.Number(), ContainerPort: port.Number()}, nil
}

// NetOut checks and remembers a rule.
func (c *box) NetOut(ctx context.Context, rule container.EgressRule) error {
	err := c.usable(ctx)
	if err == nil {
		err = rule.Validate()
	}
	if err != nil {
		return fmt.Errorf("allow traffic out of container %s: %w", c.handle, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != container.StateActive {
		return fmt.Errorf("allow traffic out of container %s: %w", c.handle, container.ErrStopped)
	}
	c.egress = append(c.egress, rule)
	if err := c.save(); err != nil {
		c.egress = c.egress[:len(c.egress)-1]
		return fmt.Errorf("allow traffic out of container %s: %w", c.handle, err)
	}
	return nil
}
