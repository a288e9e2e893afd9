package warden

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
)

// Config is the configuration of a [Server]. Backend is required; zero takes the default of the others.
type Config struct {
	// Backend makes the containers. The caller closes it, after Run.
	Backend container.Backend

	// RootFS is a directory: the root file system of containers for which the client names none. Empty leaves it to
	// the back end.
	RootFS string

	// AllowNetworks are the networks that each container may reach from the beginning, over every protocol: CIDRs,
	// addresses, or ranges such as 10.0.0.1-10.0.0.9. Where the back end does not enforce egress rules, all may be reached.
	AllowNetworks []string

	// GraceTime is how long a container lives without a connection that refers to it, when the client does not say.
	// Default 5 minutes; negative: for ever. See Server.Run.
	GraceTime time.Duration

	// Rlimits are those of jobs, one by one overridden by those of a request. Nil, and each field that is nil, leaves
	// the limit to the back end.
	Rlimits *protocol.ResourceLimits

	// JobOutputLimit bounds what a job may write to standard output and standard error together, in bytes: it is kept
	// in memory for Link and Stream. A job that writes more is killed. Default 10 MiB.
	JobOutputLimit int

	// NoDiskQuota answers LimitDisk without doing anything, as a server without quotas does.
	NoDiskQuota bool

	// StateDir is the directory in which the server remembers grace times and jobs, for the next one that serves the
	// same back end. It is made if need be and must be used for nothing else. Empty: a server knows no jobs of earlier
	// ones.
	StateDir string

	// SyslogSocket is the path of a Unix datagram socket, such as /dev/log, for the output of jobs with a log_tag.
	// Empty: it goes nowhere.
	SyslogSocket string

	// DrainTime is how long requests may take after the context of Run ended. Default 30 s.
	DrainTime time.Duration

	// Logger may be nil: nothing is logged.
	Logger *slog.Logger
}

const (
	defaultGraceTime   = 5 * time.Minute
	defaultOutputLimit = 10 << 20
	// maxOutputLimit leaves room in a frame for the rest of the answer to Link.
	maxOutputLimit   = protocol.MaxPayload - 1<<20
	defaultDrainTime = 30 * time.Second
)

// Check returns container.ErrInvalid for options that make no sense, as [NewServer] does. A Backend may be missing.
func (c Config) Check() error {
	if c.JobOutputLimit < 0 || c.JobOutputLimit > maxOutputLimit {
		return fmt.Errorf("option JobOutputLimit is %d, not between 1 and %d: %w", c.JobOutputLimit, maxOutputLimit,
			container.ErrInvalid)
	}
	if c.DrainTime < 0 {
		return fmt.Errorf("option DrainTime is negative: %w", container.ErrInvalid)
	}
	for _, network := range c.AllowNetworks {
		if !isNetwork(network) {
			return fmt.Errorf("option AllowNetworks: %q is no address, no CIDR and no range: %w", network, container.ErrInvalid)
		}
	}
	return nil
}

func (c Config) withDefaults() (Config, error) {
	if c.Backend == nil {
		return c, fmt.Errorf("option Backend is missing: %w", container.ErrInvalid)
	}
	if err := c.Check(); err != nil {
		return c, err
	}
	c.AllowNetworks = slices.Clone(c.AllowNetworks)
	c.GraceTime = cmp.Or(c.GraceTime, defaultGraceTime)
	c.JobOutputLimit = cmp.Or(c.JobOutputLimit, defaultOutputLimit)
	c.DrainTime = cmp.Or(c.DrainTime, defaultDrainTime)
	if c.Rlimits == nil {
		c.Rlimits = &protocol.ResourceLimits{}
	}
	c.Rlimits = proto.CloneOf(c.Rlimits)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.StateDir != "" {
		if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
			return c, err
		}
		abs, err := filepath.Abs(c.StateDir)
		if err != nil {
			return c, err
		}
		c.StateDir = abs
	}
	return c, nil
}
