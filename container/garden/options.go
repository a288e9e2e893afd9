package garden

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/deakit/deakit/container"
)

// PropertyPrefix begins the names of the properties that are this package's own.
const PropertyPrefix = "deakit."

// Options are the options of [New]. Zero takes the default of each.
type Options struct {
	// Network and Address are where the server listens, in the form of net.Dial. Default "unix" and
	// /var/vcap/data/garden/garden.sock, as garden-runc-release has it.
	Network, Address string

	// GraceTime is how long a container lives without any request. Zero leaves it to the server: for ever, as a rule.
	GraceTime time.Duration

	// HostIP is the address at which mapped ports are reached. Default: what the server tells.
	HostIP string

	// Privileged makes containers whose root is that of the host.
	Privileged bool

	// Capabilities are what the server's containers are confined by. Nil takes those of Guardian.
	Capabilities *container.Capabilities

	// Timeout bounds requests that are answered at once, and connecting. Default 30 s. Making, stopping, destroying and
	// copying have no bound but their context.
	Timeout time.Duration

	// Logger may be nil: nothing is logged.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.GraceTime < 0 || o.Timeout < 0 {
		return o, fmt.Errorf("option GraceTime or Timeout is negative: %w", container.ErrInvalid)
	}
	o.Network = cmp.Or(o.Network, "unix")
	o.Address = cmp.Or(o.Address, "/var/vcap/data/garden/garden.sock")
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// guardian is what the containers of Guardian are confined by. Bandwidth is left to its network plugins.
var guardian = container.Capabilities{
	Name: "garden", RootFS: true, Users: true, ReadOnlyMounts: true, Network: true, PortMapping: true, EgressRules: true,
	Processes: true, Survives: true, Memory: container.ByKernel, CPU: container.ByKernel, Disk: container.ByKernel, PIDs: container.ByKernel,
}
