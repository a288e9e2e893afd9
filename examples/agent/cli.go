package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/node"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/messaging"
)

type cli struct {
	Dev directory `placeholder:"DIR" help:"Run a whole agent in a directory: no root, no monit, nothing outside of it is touched. It takes requests at https://127.0.0.1:6868, or where -n says; over NATS by the id of -a, or else one that it draws and keeps."`

	Configure      bool   `short:"c" help:"Load the settings from the infrastructure, and run monit."`
	Infrastructure string `short:"I" placeholder:"NAME" help:"Where the settings are: aws, openstack, vsphere, vcloud or dummy (base/bosh/dummy-cpi-agent-env.json)."`
	Config         string `short:"C" placeholder:"FILE" help:"agent.json: what is known of the machine, and where its settings are."`
	Platform       string `short:"P" default:"ubuntu" placeholder:"NAME" help:"ubuntu or centos, which are the same here, or dummy: disks are only noted, and nothing outside of the base directory is written (${default})."`
	Supervisor     string `short:"M" placeholder:"NAME" help:"Who runs the processes of jobs: monit, dev (the agent), or dummy (nobody). Default: monit with -c or -C, else dummy; dev with --dev."`

	AgentID   string    `name:"agent_id" short:"a" default:"not_configured" placeholder:"ID" help:"Id, where the settings have none (${default})."`
	BaseDir   directory `name:"base_dir" short:"b" default:"/var/vcap" placeholder:"DIR" help:"Base directory (${default})."`
	RootDir   string    `name:"root_dir" short:"r" placeholder:"DIR" help:"Where files of the system are written: etc/logrotate.d/vcap, etc/hosts, trusted certificates. Default: / with -c or -C, else they are not."`
	LogLevel  string    `name:"log_level" short:"l" default:"INFO" placeholder:"LEVEL" help:"DEBUG, INFO, WARN, ERROR or FATAL, in any case (${default}). The log goes to standard error."`
	NATS      string    `name:"nats" short:"n" placeholder:"URL" help:"Message bus, where the settings have none: nats://user:password@host:4222, or https://user:password@host:port to listen there; without user and password, anybody who reaches that is let in. Default nats://localhost:4222."`
	Provider  string    `short:"p" default:"simple" placeholder:"NAME" help:"Blob store, where the settings have none: local, simple, dav, s3, nats, dummy, or X for the program bosh-blobstore-X (${default})."`
	Blobstore string    `short:"s" placeholder:"URL" help:"Where it is: http://user:password@host:port, or a path. Without one, and without one in the settings, blobs have to be sent to the agent."`

	Heartbeat int    `name:"heartbeat-interval" short:"h" default:"30" placeholder:"SECONDS" help:"Between heartbeats; 0 or less for none (${default})."`
	SMTPPort  uint16 `name:"smtp-port" short:"t" default:"2825" placeholder:"PORT" help:"Where monit's mails are taken, on 127.0.0.1 (${default})."`
	NoAlerts  bool   `name:"no-alerts" help:"Send no alerts."`
	Syslog    string `placeholder:"HOST:PORT" help:"Hear the system log there, for alerts of logins by ssh; rsyslog of old images sends it to 127.0.0.1:33331."`

	MonitPort    uint16        `name:"monit-port" default:"2822" placeholder:"PORT" help:"Where monit answers, on 127.0.0.1 (${default})."`
	MonitCycle   time.Duration `name:"monit-cycle" default:"10s" help:"How often monit looks at processes (${default})."`
	MonitProgram string        `name:"monit" default:"monit" placeholder:"PROGRAM" help:"The program (${default})."`
	Setup        []string      `enum:"keys,passwords,hostname,disks,tmpfs,programs" placeholder:"WHAT" help:"Also, at each start, separated by commas: keys, to let in who has the key of the infrastructure or of env.bosh.authorized_keys; passwords, to set env.bosh.password; hostname, to the agent's id; disks, to give the ephemeral disk of the settings partitions for swap and data, unless it has those of this agent: what else is on it is lost; where there is none and agent.json says CreatePartitionIfNoEphemeralDisk, they are made in what is free behind the system on its disk; tmpfs, to have run files in memory, and settings and jobs where env.bosh says so; programs, to run bosh-agent-rc and bosh-start-logging-and-auditing of the image."`
	PowerOff     bool          `name:"power-off" help:"Let the method shutdown power the machine off. Else only the agent ends."`
	Legacy       bool          `help:"Answer as bosh_agent did, for directors of before 2014."`

	Version bool     `short:"v" help:"Print the version and end."`
	Help    helpFlag `help:"Print this and end."`
}

// A directory has a name. An empty one comes of a variable that is not set, and must not lead to another directory.
type directory string

// UnmarshalText implements an interface that kong looks for.
func (d *directory) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("the name of the directory is empty")
	}
	*d = directory(text)
	return nil
}

// A helpFlag prints the help; kong's own has the letter that is the heartbeat interval here.
type helpFlag bool

// BeforeReset implements a hook of kong.
func (helpFlag) BeforeReset(ctx *kong.Context) error {
	if err := ctx.PrintUsage(false); err != nil {
		return err
	}
	ctx.Kong.Exit(exitOK)
	return nil
}

// negative is a number that would be taken for an option.
var negative = regexp.MustCompile(`^-[0-9]+$`)

// goFlags lets one dash and two be the same, and a value follow after '=', as with bosh-agent.
func goFlags(args []string) []string {
	var out []string
	for _, arg := range args {
		if last := len(out) - 1; last >= 0 && out[last] == "-h" && negative.MatchString(arg) {
			out[last] = "--heartbeat-interval=" + arg
			continue
		}
		name, value, given := strings.Cut(arg, "=")
		switch bare := strings.TrimPrefix(strings.TrimPrefix(name, "-"), "-"); {
		case name == "-no-alerts":
			arg = "-" + arg
		case strings.HasPrefix(name, "-") && len(bare) == 1 && bare != "-":
			arg = "-" + bare
			if given && arg == "-h" {
				arg = "--heartbeat-interval=" + value
			} else if given {
				out = append(out, arg)
				arg = value
			}
		}
		out = append(out, arg)
	}
	return out
}

// Validate checks what kong cannot know.
func (c *cli) Validate() error {
	var errs []error
	complain := func(when bool, text string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf(text, args...))
		}
	}
	complain(c.Config != "" && c.Infrastructure != "", "-C has the sources of settings in its file, -I names one: use either")
	complain(c.Dev != "" && (c.Config != "" || c.Configure || c.Infrastructure != ""), "--dev makes settings of its own: leave out -C, -c and -I")
	complain(c.Dev != "" && c.Blobstore != "", "--dev has a blob store of its own: leave out -s")
	complain(c.Infrastructure != "" && !slices.Contains([]string{"aws", "openstack", "vsphere", "vcloud", "dummy"}, c.Infrastructure), "infrastructure '%s' not found", c.Infrastructure)
	complain(!slices.Contains([]string{"ubuntu", "centos", "dummy"}, c.Platform), "platform '%s' not found", c.Platform)
	complain(!slices.Contains([]string{"", "monit", "dev", "dummy"}, c.Supervisor), "supervisor '%s' not found: monit, dev and dummy are there", c.Supervisor)
	_, known := levels[strings.ToUpper(c.LogLevel)]
	complain(!known, "log level '%s' not found", c.LogLevel)
	complain(c.Dev != "" && (len(c.Setup) > 0 || c.PowerOff), "--dev changes nothing of the machine: leave out --setup and --power-off")
	for _, what := range []string{"keys", "passwords", "hostname", "programs"} {
		complain(c.Platform == "dummy" && slices.Contains(c.Setup, what), "-P dummy changes nothing of the machine: leave out %s of --setup", what)
	}
	complain(!messaging.IsToken(c.AgentID), "agent id %.80q: it becomes part of a subject, and must not be empty or have '.', '*', '>' or blanks", c.AgentID)
	if c.NATS != "" {
		complain(c.NATS != "" && transport.CheckBus(c.NATS) != nil, "-n: %w", transport.CheckBus(c.NATS))
	}
	return errors.Join(errs...)
}

var levels = map[string]slog.Level{
	"DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo, "WARN": slog.LevelWarn, "ERROR": slog.LevelError, "FATAL": slog.LevelError + 4,
}

func (c *cli) level() slog.Level { return levels[strings.ToUpper(c.LogLevel)] }

// managed tells whether the machine is the agent's.
func (c *cli) managed() bool { return c.Configure || c.Config != "" || c.Infrastructure != "" }

// config is what the command line asks for.
func (c *cli) config(log *slog.Logger) (cfg node.Config, err error) {
	if c.Dev != "" {
		cfg, err = node.Development(string(c.Dev), c.givenID(), c.NATS)
	} else {
		cfg, err = c.machine(log)
	}
	if err != nil {
		return cfg, err
	}
	cfg.Supervisor = cmp.Or(node.SupervisorKind(c.Supervisor), cfg.Supervisor)
	cfg.Monit = node.MonitConfig{Program: c.MonitProgram, Port: int(c.MonitPort), Cycle: c.MonitCycle}
	cfg.Heartbeat = time.Duration(c.Heartbeat) * time.Second
	if c.Heartbeat <= 0 {
		cfg.Heartbeat = -1
	}
	cfg.NoAlerts, cfg.SMTP, cfg.Syslog, cfg.Legacy = c.NoAlerts, fmt.Sprintf("127.0.0.1:%d", c.SMTPPort), c.Syslog, c.Legacy
	if c.PowerOff {
		cfg.PowerOff = powerOff
	}
	return cfg, nil
}

// checkSettings fails where there is no place for the settings yet, before anything is made.
func (c *cli) checkSettings() error {
	if c.Infrastructure != "dummy" {
		return nil
	}
	bosh := filepath.Join(string(c.BaseDir), "bosh")
	if _, err := os.Stat(bosh); err != nil {
		return fmt.Errorf("there are no settings, which -I dummy reads from %s: %w", filepath.Join(bosh, "dummy-cpi-agent-env.json"), err)
	}
	return nil
}

// givenID is the id that somebody gave, if any.
func (c *cli) givenID() string {
	if c.AgentID == "not_configured" {
		return ""
	}
	return c.AgentID
}

// machine is an agent of a machine, not of a directory.
func (c *cli) machine(log *slog.Logger) (node.Config, error) {
	cfg := node.Config{Root: c.RootDir, Supervisor: node.None}
	var err error
	if cfg.Base, err = filepath.Abs(string(c.BaseDir)); err != nil {
		return cfg, err
	}
	if c.managed() {
		cfg.Supervisor = node.Monit
		cfg.Root = cmp.Or(c.RootDir, "/")
	}
	if err := c.source(&cfg, log); err != nil { // before anything is made
		return cfg, err
	}
	if c.Platform == "dummy" {
		cfg.Root = c.RootDir
		if cfg.Disks, err = disk.NewMemory(filepath.Join(cfg.Base, "bosh", "disks")); err != nil {
			return cfg, err
		}
	}
	if cfg.Default, err = c.defaults(); err != nil {
		return cfg, err
	}
	cfg.Logger, cfg.Tmpfs = log, slices.Contains(c.Setup, "tmpfs")
	cfg.Machine, err = c.steps(&cfg)
	return cfg, err
}

// source says where settings come from.
func (c *cli) source(cfg *node.Config, log *slog.Logger) (err error) {
	tools := settings.Tools{Mounter: disk.Linux{}, Logger: log}
	switch {
	case c.Config != "":
		data, err := os.ReadFile(c.Config)
		if err != nil {
			return err
		}
		parsed, err := settings.ParseConfig(data)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Config, err)
		}
		cfg.Linux = parsed.Platform.Linux
		if cfg.Source, err = settings.NewSource(parsed, tools); err != nil {
			return fmt.Errorf("%s: %w", c.Config, err)
		}
		return nil
	case c.managed():
		cfg.Linux.DevicePathResolutionType = resolution[c.Infrastructure]
		cfg.Source, err = settings.Infrastructure(cmp.Or(c.Infrastructure, "vsphere"), cfg.Base, tools)
		return err
	}
	cfg.Source = nothing{}
	return nil
}

// resolution is how bosh_agent finds the devices of disks: by their SCSI unit numbers, or by paths that the kernel has changed.
var resolution = map[string]string{"": "scsi", "vsphere": "scsi", "vcloud": "scsi", "aws": "virtio", "openstack": "virtio"}

// nothing is a source without settings: the options say it all.
type nothing struct{}

func (nothing) Settings(context.Context) (*settings.Settings, error) {
	return settings.Parse([]byte("{}"))
}
func (nothing) PublicSSHKey(context.Context) (string, error) { return "", nil }

// defaults are what the options say in place of settings.
func (c *cli) defaults() (settings.Settings, error) {
	d := settings.Settings{AgentID: c.AgentID, Mbus: cmp.Or(c.NATS, "nats://localhost:4222")}
	if c.Provider == "simple" && c.Blobstore == "" {
		return d, nil // nobody said where
	}
	options, err := blobstoreOptions(c.Blobstore)
	d.Blobstore = settings.Blobstore{Provider: c.Provider, Options: options}
	return d, err
}

// blobstoreOptions makes options of the URL of a blob store, as bosh_agent does.
func blobstoreOptions(text string) (map[string]any, error) {
	options := map[string]any{}
	if text == "" {
		return options, nil
	}
	at, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("-s is neither a URL nor a path") // what it is may hold a password
	}
	if at.User != nil {
		options["user"] = at.User.Username()
		if password, given := at.User.Password(); given {
			options["password"] = password
		}
		at.User = nil
	}
	if at.Scheme == "file" || at.Scheme == "" {
		options["blobstore_path"] = at.Path
	} else {
		options["endpoint"] = at.String()
	}
	return options, nil
}
