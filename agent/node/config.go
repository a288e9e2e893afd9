package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/deakit/deakit/agent"
	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/blobstore"
	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/methods"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/agent/sshuser"
)

// Config of a [Node].
type Config struct {
	Base string // base directory; default /var/vcap

	// Root is the directory below which files of the system are written: etc/logrotate.d/vcap, etc/hosts (sync_dns), and the
	// certificates that a director trusts. Empty: none are.
	Root string

	// Source of the settings; required. What it says is kept below Base, for the time when it does not answer.
	Source settings.Source

	// Default holds what counts where the settings say nothing: agent id, mbus and blob store. Options of the blob store are
	// added to those of the settings, where these have the same provider or none.
	Default settings.Settings

	// Linux is what agent.json says of the machine. Of it count UsePreformattedPersistentDisk, PartitionerType and how devices are
	// found; [EphemeralDisk] takes more of it. The rest has no effect: monit is started, and persistent disks are mounted, here.
	Linux settings.Linux

	// Machine is done when the settings are known, in order, before anything else.
	Machine []Step

	// Tmpfs keeps in memory what would otherwise outlive the machine on its disk: data/sys/run, and where the settings say so the
	// settings themselves (env.bosh.agent.settings.tmpfs), and jobs with the blobs they are made of (env.bosh.job_dir.tmpfs). A
	// machine of which the latter was lost, as it has come up again, is refused with [ErrRebooted]. It needs root.
	Tmpfs bool

	Supervisor SupervisorKind // of the processes of jobs; default Monit
	Monit      MonitConfig    // for Monit

	Disks    disk.System   // default disk.Linux
	Resolver disk.Resolver // default what Linux says

	// Users makes the users of the method ssh. Nil: those of this machine where Root is "/", else the method is unknown.
	Users *sshuser.Manager

	// Heartbeat is the time between heartbeats; default 30 s, negative: there are none. Over HTTPS nobody gets them, but the
	// jobs on the machine are told of its health as often.
	Heartbeat time.Duration

	NoAlerts bool   // no mail server for monit, and no alerts of logins
	SMTP     string // where monit's mails are taken; default 127.0.0.1:2825
	Syslog   string // where the system log is heard, for alerts of logins by ssh: host:port; empty: nowhere

	// Unmounted tells the vitals of all disks by the file system that they are on, mounted or not; for development.
	Unmounted bool

	// Legacy makes arguments and results those of the Ruby agent, for directors of before 2014. Over NATS, a reply that is too
	// long is put into the blob store.
	Legacy bool

	// Methods are answered besides those of the agent, whose names they must not have.
	Methods []action.Method

	// PowerOff is what the method shutdown does. Nil, and with Legacy: the agent ends, and the machine goes on.
	PowerOff func(context.Context) error

	// Ready is told when the agent takes requests, or is about to: over NATS there may be no server yet. It must not block.
	Ready func(Place)

	Logger *slog.Logger // nil discards

	access *Access // of an agent in a directory, see Development
}

// A Step is a part of what a machine needs done when it comes up.
type Step struct {
	Name string
	Do   func(context.Context, *settings.Settings) error
}

// A Place is where an agent takes requests.
type Place struct {
	AgentID string
	Address string // of HTTPS: host and port; empty for NATS
	Servers string // of NATS: host and port of each, with commas between
	Open    bool   // over HTTPS: anybody is let in, for mbus has no user and password
	Waiting bool   // over NATS: no server has answered yet, and the agent goes on trying
}

// A SupervisorKind says who keeps the processes of jobs running.
type SupervisorKind string

// The kinds of supervisors.
const (
	Monit SupervisorKind = "monit" // as the originals have it; see package monit
	Dev   SupervisorKind = "dev"   // the agent itself, see [supervisor.Dev]
	None  SupervisorKind = "dummy" // nobody: jobs are installed, and said to be running
)

// MonitConfig says how monit is run.
type MonitConfig struct {
	Program string        // default monit
	Port    int           // where it answers, on 127.0.0.1; default 2822
	Cycle   time.Duration // between its looks at services, in whole seconds; default 10 s

	// Restart has monit ended and started again by whoever keeps it running, with base/bosh/etc/monitrc. Nil: monit is a child
	// of the agent.
	Restart func(context.Context) error
}

// Exits are how a node ends by itself, from [Node.Run].
var (
	// ErrRestart: the agent wants to be started again, for it has new settings. The original ends with status 0.
	ErrRestart = errors.New("the agent has to be started again")
	// ErrShutdown: the director wanted the machine to go, and there is nothing else to do for it here.
	ErrShutdown = errors.New("the director has shut the agent down")
)

// ErrRebooted: see Config.Tmpfs. Its text begins as that of the original.
var ErrRebooted = errors.New("Refusing to boot: the machine came up again without what it had in memory; have the director make it anew") //nolint:staticcheck // text of the original

func (c Config) withDefaults() (Config, error) {
	c.Base = cmp.Or(c.Base, "/var/vcap")
	c.Supervisor = cmp.Or(c.Supervisor, Monit)
	c.SMTP = cmp.Or(c.SMTP, "127.0.0.1:2825")
	c.Heartbeat = cmp.Or(c.Heartbeat, 30*time.Second)
	c.Monit.Port = cmp.Or(c.Monit.Port, 2822)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Disks == nil {
		c.Disks = disk.Linux{}
	}
	var errs []error
	if c.Source == nil {
		errs = append(errs, errors.New("Source is missing: where the settings come from"))
	}
	if !filepath.IsAbs(c.Base) {
		errs = append(errs, fmt.Errorf("Base must be an absolute path, not %q", c.Base))
	}
	switch c.Supervisor {
	case Monit, Dev, None:
	default:
		errs = append(errs, fmt.Errorf("Supervisor must be %s, %s or %s, not %q", Monit, Dev, None, c.Supervisor))
	}
	if err := checkMethods(c.Methods); err != nil { // a machine should not come up for nothing
		errs = append(errs, err)
	}
	if c.Resolver == nil {
		var err error
		if c.Resolver, err = disk.NewResolver(c.Linux); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return c, fmt.Errorf("node: %w", err)
	}
	return c, nil
}

// checkMethods puts methods beside those that all nodes have, which are only named here: none can be called.
func checkMethods(own []action.Method) error {
	all := (&methods.Machine{Parts: methods.Parts{Disks: new(disk.Manager), Sensitive: new(blobstore.Local)}}).Methods()
	_, err := agent.New(agent.Config{ID: "any", Methods: slices.Concat(all, own)})
	return err
}
