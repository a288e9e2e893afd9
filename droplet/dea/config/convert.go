package config

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/logging"
)

// NATSURLs returns the servers with their passwords.
func (c *Config) NATSURLs() []string {
	urls := make([]string, len(c.NATSServers))
	for i, u := range c.NATSServers {
		urls[i] = string(u)
	}
	return urls
}

// StackNames returns the names of the stacks in the order of the file.
func (c *Config) StackNames() []string {
	names := make([]string, len(c.Stacks))
	for i, stack := range c.Stacks {
		names[i] = stack.Name
	}
	return names
}

// RootFS returns the directory of the stack's root file system. Empty means the back end's default, as files of early 2014
// do not say. A message that names no stack, as those of early 2014, gets the first one. The error has dea_ng's text.
func (c *Config) RootFS(stack string) (string, error) {
	if stack == "" && len(c.Stacks) > 0 {
		return c.Stacks[0].PackagePath, nil
	}
	for _, s := range c.Stacks {
		if s.Name == stack {
			return s.PackagePath, nil
		}
	}
	return "", fmt.Errorf("Stack %s does not exist", stack)
}

// Mounts returns the bind mounts for containers.
func (c *Config) Mounts() []container.BindMount {
	mounts := make([]container.BindMount, len(c.BindMounts))
	for i, m := range c.BindMounts {
		mounts[i] = container.BindMount{Src: m.SrcPath, Dst: m.DstPath, Writable: m.Mode == "rw"}
	}
	return mounts
}

// CPUShares turns the memory limit of an instance into its shares, or returns the fixed number where the file has one.
func (c *Config) CPUShares(memoryMB int64) int64 {
	i := c.Instance
	if i.CPULimitShares > 0 {
		return i.CPULimitShares
	}
	return min(max(memoryMB/i.MemoryToCPUShareRatio, i.MinCPUShareLimit), i.MaxCPUShareLimit)
}

// Capacity returns what the machine has to give, the factors included.
func (c *Config) Capacity() resources.Capacity {
	r := c.Resources
	plain := resources.Capacity{MemoryBytes: r.MemoryMB << 20, DiskBytes: r.DiskMB << 20}
	return plain.Overcommit(r.MemoryOvercommitFactor, r.DiskOvercommitFactor)
}

// HeartbeatsBy tells how heartbeats are sent.
func (c *Config) HeartbeatsBy() (nats, http bool) {
	switch c.Deakit.HeartbeatTransport {
	case "nats":
		return true, false
	case "http":
		return false, true
	case "both":
		return true, true
	default:
		return c.HM9000 == nil, c.HM9000 != nil
	}
}

// AdvertisedURL is under which the HTTPS server is called: https://<service_name>:<ssl.port>. Empty when there is none.
func (c *Config) AdvertisedURL() string {
	if c.SSL == nil || c.ServiceName == "" {
		return ""
	}
	return "https://" + net.JoinHostPort(c.ServiceName, strconv.Itoa(int(c.SSL.Port)))
}

// Log says how to log.
func (c *Config) Log() logging.Config {
	return logging.Config{
		Level: c.Logging.Level, Format: c.Deakit.LogFormat, File: c.Logging.File,
		Syslog: c.Logging.Syslog, SyslogAddress: string(c.Deakit.SyslogAddress),
	}
}

// Limit returns the limit for containers; nil means none.
func (b *Bandwidth) Limit() *container.Bandwidth {
	if b == nil {
		return nil
	}
	return &container.Bandwidth{BytesPerSecond: b.Rate, BurstBytes: b.Burst}
}

// Variables returns the environment in the form NAME=value, by name.
func (s Staging) Variables() []string {
	variables := make([]string, 0, len(s.Environment))
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		variables = append(variables, name+"="+string(s.Environment[name]))
	}
	return variables
}
