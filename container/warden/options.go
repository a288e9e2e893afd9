package warden

import (
	"cmp"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"time"

	"github.com/deakit/deakit/container"
)

// Options are the options of [New]. StateDir is required; zero takes the default of the others.
type Options struct {
	// Network and Address are where the server listens, in the form of net.Dial. Default "unix" and /tmp/warden.sock
	// (Warden).
	Network, Address string

	// StateDir is a directory for what the protocol has no room for: properties, ports, and how processes are numbered.
	// It also holds the pipes and files on their way to and from containers, so it must stand on this machine's disk, and
	// the server must be able to reach it under the same path. It is made if need be, must be used for nothing else, and
	// belongs to one Backend at a time.
	StateDir string

	// GraceTime is how long containers live while no Backend is connected, rounded up to seconds. Zero leaves it to the
	// server: Warden's default is 5 minutes.
	GraceTime time.Duration

	// HostIP is the address at which mapped ports are reached. Default: what the server tells, which is right where the
	// containers share the host's network; an original Warden forwards ports of the machine's outer address.
	HostIP string

	// Capabilities are what the server's containers are confined by. Nil asks the server, and takes the Linux
	// containers of the original for one that does not tell.
	Capabilities *container.Capabilities

	// Timeout bounds requests that are answered at once, and connecting. Default 30 s. Waiting for processes, stopping and
	// copying have no bound but their context.
	Timeout time.Duration

	// Logger may be nil: nothing is logged.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.StateDir == "" {
		return o, fmt.Errorf("option StateDir is missing: %w", container.ErrInvalid)
	}
	if o.GraceTime < 0 || o.Timeout < 0 || o.GraceTime.Seconds() > math.MaxUint32-1 {
		return o, fmt.Errorf("option GraceTime or Timeout is negative or too long: %w", container.ErrInvalid)
	}
	dir, err := filepath.Abs(o.StateDir)
	if err != nil {
		return o, err
	}
	o.StateDir = dir
	o.Network = cmp.Or(o.Network, "unix")
	o.Address = cmp.Or(o.Address, "/tmp/warden.sock")
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}
