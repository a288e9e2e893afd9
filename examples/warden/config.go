package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/deakit/deakit/container/warden"
	"github.com/deakit/deakit/container/warden/protocol"
	"github.com/deakit/deakit/logging"
)

// config is Warden's configuration file. Keys that only its own containers have a use for are accepted and not used.
type config struct {
	Server serverConfig `yaml:"server"`
	Health struct {
		Port *uint16 `yaml:"port"`
	} `yaml:"health_check_server"`
	Logging struct {
		Level  string `yaml:"level"`
		File   string `yaml:"file"`
		Syslog string `yaml:"syslog"`
	} `yaml:"logging"`
	Network struct {
		Allow []string       `yaml:"allow_networks"`
		Deny  []string       `yaml:"deny_networks"`
		Other map[string]any `yaml:",inline"`
	} `yaml:"network"`
	Port struct {
		First uint16 `yaml:"pool_start_port"`
		Size  uint16 `yaml:"pool_size"`
	} `yaml:"port"`
	User   map[string]any `yaml:"user"`
	Deakit struct {
		HostIP    string  `yaml:"host_ip"`
		StateDir  string  `yaml:"state_path"`
		StopGrace float64 `yaml:"stop_grace_time"` // seconds
		Format    string  `yaml:"log_format"`
	} `yaml:"deakit"`

	graceTime time.Duration // as warden.Config has it
	rlimits   *protocol.ResourceLimits
}

type serverConfig struct {
	Path        string            `yaml:"unix_domain_path"`
	Permissions fs.FileMode       `yaml:"unix_domain_permissions"`
	Class       string            `yaml:"container_klass"`
	RootFS      string            `yaml:"container_rootfs_path"`
	Depot       string            `yaml:"container_depot_path"`
	GraceTime   yaml.Node         `yaml:"container_grace_time"` // seconds, or null
	Rlimits     map[string]uint64 `yaml:"container_rlimits"`
	OutputLimit int               `yaml:"job_output_limit"`
	Quota       struct {
		Enabled *bool `yaml:"disk_quota_enabled"`
	} `yaml:"quota"`
	Nested       bool   `yaml:"allow_nested_warden"`
	PIDFile      string `yaml:"pidfile"`
	SyslogSocket string `yaml:"syslog_socket"`
}

// The defaults of Warden.
const (
	defaultPath  = "/tmp/warden.sock"
	defaultMode  = 0o755
	defaultDepot = "/tmp/warden/containers"
	healthPort   = 2345
)

// load reads a configuration. Keys that are not known are warnings, as Warden passes over them.
func load(name string) (*config, []string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, err
	}
	c := &config{}
	if err := yaml.Unmarshal(data, c); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := c.complete(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, c.warnings(data), nil
}

// complete fills in defaults and checks.
func (c *config) complete() error {
	s := &c.Server
	if s.Path == "" {
		s.Path = defaultPath
	}
	if s.Permissions == 0 {
		s.Permissions = defaultMode
	}
	if s.Depot == "" {
		s.Depot = defaultDepot
	}
	if c.Deakit.StateDir == "" {
		c.Deakit.StateDir = strings.TrimRight(s.Depot, "/") + ".state"
	}
	if c.Health.Port == nil {
		c.Health.Port = new(uint16)
		*c.Health.Port = healthPort
	}
	if s.Permissions&^fs.ModePerm != 0 {
		return fmt.Errorf("server.unix_domain_permissions: %o is no mode of a file", s.Permissions)
	}
	if c.Port.First > 0 && (c.Port.Size == 0 || int(c.Port.First)+int(c.Port.Size)-1 > math.MaxUint16) {
		return errors.New("port: from pool_start_port on there must be pool_size ports, at least one and none above 65535")
	}
	if len(c.Network.Deny) > 0 && len(c.Network.Allow) > 0 {
		return errors.New("network.deny_networks: containers reach allow_networks and nothing else; let those name only what may be reached")
	}
	if !(c.Deakit.StopGrace >= 0 && c.Deakit.StopGrace <= 3600) {
		return errors.New("deakit.stop_grace_time must be between 0 and 3600 seconds")
	}
	if c.Logging.Level != "" {
		if _, err := logging.ParseLevel(c.Logging.Level); err != nil {
			return fmt.Errorf("logging.level: %w", err)
		}
	}
	if formats := []string{"", logging.FormatSteno, logging.FormatJSON, logging.FormatText}; !slices.Contains(formats, c.Deakit.Format) {
		return fmt.Errorf("deakit.log_format: choose one of %s", strings.Join(formats[1:], ", "))
	}
	if err := errors.Join(c.readGraceTime(), c.readRlimits()); err != nil {
		return err
	}
	for key, options := range map[string]warden.Config{
		"server.job_output_limit": {JobOutputLimit: c.Server.OutputLimit}, "network.allow_networks": {AllowNetworks: c.Network.Allow},
	} {
		if err := options.Check(); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// server is what of the configuration concerns the server alone.
func (c *config) server() warden.Config {
	return warden.Config{
		RootFS: c.Server.RootFS, AllowNetworks: c.Network.Allow, GraceTime: c.graceTime, Rlimits: c.rlimits,
		JobOutputLimit: c.Server.OutputLimit, NoDiskQuota: c.Server.Quota.Enabled != nil && !*c.Server.Quota.Enabled,
		StateDir: c.Deakit.StateDir, SyslogSocket: c.Server.SyslogSocket,
	}
}

// readGraceTime tells a key that is missing from one that is null.
func (c *config) readGraceTime() error {
	switch node := c.Server.GraceTime; {
	case node.IsZero():
		return nil
	case node.Tag == "!!null":
		c.graceTime = -1
	default:
		var seconds uint32
		if err := node.Decode(&seconds); err != nil {
			return fmt.Errorf("server.container_grace_time must be seconds or null: %w", err)
		}
		// 0 is the default of warden.Config, and a nanosecond as good as none.
		c.graceTime = max(time.Duration(seconds)*time.Second, 1)
	}
	return nil
}

func (c *config) readRlimits() error {
	c.rlimits = &protocol.ResourceLimits{}
	message := c.rlimits.ProtoReflect()
	for name, value := range c.Server.Rlimits {
		field := message.Descriptor().Fields().ByName(protoreflect.Name(name))
		if field == nil {
			return fmt.Errorf("server.container_rlimits.%s: there is no such limit", name)
		}
		message.Set(field, protoreflect.ValueOfUint64(value))
	}
	return nil
}

const noEffect = " has no effect: --backend chooses the containers"

// warnings tells what has no effect.
func (c *config) warnings(data []byte) []string {
	var list []string
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	decoder.KnownFields(true)
	var unknown *yaml.TypeError
	if errors.As(decoder.Decode(&config{}), &unknown) {
		list = append(list, unknown.Errors...)
	}
	for name, present := range map[string]bool{
		"user": c.User != nil, "server.allow_nested_warden": c.Server.Nested, "server.container_klass": c.Server.Class != "",
		"network.deny_networks": len(c.Network.Deny) > 0,
	} {
		if present {
			list = append(list, name+noEffect)
		}
	}
	for name := range c.Network.Other {
		list = append(list, "network."+name+noEffect)
	}
	slices.Sort(list)
	return list
}
