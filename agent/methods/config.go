package methods

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/deakit/deakit/agent/blobstore"
	"github.com/deakit/deakit/agent/certs"
	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/hosts"
	"github.com/deakit/deakit/agent/job"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/agent/sshuser"
	"github.com/deakit/deakit/agent/supervisor"
	"github.com/deakit/deakit/agent/vitals"
	"github.com/deakit/deakit/messaging"
)

// Config says how a machine is worked on.
type Config struct {
	AgentID string // as get_state tells it; required
	Base    string // base directory, "/var/vcap"; required

	// SystemRoot is the directory below which files of the system are changed: etc/logrotate.d/vcap, and the rules of udev that
	// prepare_network_change removes. Empty: none is. Production has "/".
	SystemRoot string

	// LogDir has the logs of the system, for fetch_logs; default /var/log.
	LogDir string

	// Owner of what is installed; nil: the user of this process. See [VcapOwner].
	Owner *job.Owner

	Env      []string // KEY=value, for all scripts, beside PATH, TMPDIR and HOME
	Parallel int      // archives that are fetched at a time; default 5, or env.bosh.parallel of the settings

	// Legacy gives the methods the results of the Ruby agent, where they differ, for directors of before 2014: apply returns the
	// spec, drain runs one script and returns its number, filters of fetch_logs are names, ssh fails with a value, shutdown ends
	// the agent and not the machine.
	Legacy bool

	// StatusTime is how long get_state waits for the supervisor before it says "unknown"; default 5 s.
	StatusTime time.Duration

	Grace time.Duration // between TERM and KILL for a script that is ended; default 10 s

	// PowerOff is shutdown, and must not wait for the end of this process. Nil: nothing happens, as on the dummy platform.
	PowerOff func(context.Context) error

	// NotifyShutdown tells the health monitor that the machine goes on purpose (heartbeat.Agent.Shutdown). Nil: nobody is told.
	NotifyShutdown func(context.Context) error

	// ForgetNeighbor is delete_arp_entries for one address, see [FlushNeighbor]. Its errors are logged only. Nil: nothing happens.
	ForgetNeighbor func(context.Context, netip.Addr) error

	Logger *slog.Logger // nil discards
}

// Parts are what the methods work with. Where one that is not required is nil, its methods are unknown to the agent, or leave it
// out as told here.
type Parts struct {
	Loader   *settings.Loader   // of base/bosh; required
	Settings *settings.Settings // as they were when the process started; required

	Blobs *blobstore.Client // required

	// Sensitive is where upload_blob puts blobs: base/data/sensitive_blobs, the first of those that Blobs was given as Sent.
	Sensitive *blobstore.Local

	Supervisor supervisor.JobSupervisor // required

	Disks  *disk.Manager
	Users  *sshuser.Manager // ssh
	Hosts  *hosts.Syncer    // sync_dns
	Certs  *certs.Store     // nil: certificates that update_settings brings are kept in its file only
	Vitals *vitals.Source   // nil: there are no vitals in states and heartbeats
}

// What Run returns when the process is to end, with status 0.
var (
	// ErrRestart: whoever keeps it running is to start it again, for other settings.
	ErrRestart = errors.New("restarting agent: settings have changed")
	// ErrShutdown: it is not to be started again, as a director of old wants. With Config.Legacy only.
	ErrShutdown = errors.New("the agent was told to end")
)

func (c Config) withDefaults(s *settings.Settings) (Config, error) {
	if !messaging.IsToken(c.AgentID) || c.Base == "" {
		return c, errors.New("methods: a Config needs AgentID and Base")
	}
	base, err := filepath.Abs(c.Base)
	if err != nil {
		return c, fmt.Errorf("methods: %w", err)
	}
	c.Base = base
	if c.Parallel < 1 {
		c.Parallel = s.Env.Bosh.Parallel
	}
	if c.StatusTime <= 0 {
		c.StatusTime = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func (p Parts) check() error {
	if p.Loader == nil || p.Settings == nil || p.Blobs == nil || p.Supervisor == nil {
		return errors.New("methods: Parts need Loader, Settings, Blobs and Supervisor")
	}
	return nil
}

// VcapOwner is root and the group vcap, to whom belongs what is installed on a machine of BOSH; nil where this process is not
// root, or there is no such group.
func VcapOwner() *job.Owner {
	group, err := user.LookupGroup("vcap")
	if os.Geteuid() != 0 || err != nil {
		return nil
	}
	gid, err := strconv.Atoi(group.Gid)
	if err != nil {
		return nil
	}
	return &job.Owner{GID: gid}
}
