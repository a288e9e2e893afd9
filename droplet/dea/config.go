package dea

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/component"
	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging/framework/runtimes"
)

// Version is what a DEA says of its software in dea.shutdown, as every dea_ng did.
const Version = "0.0.1"

// Config of a DEA. Only BaseDir is required.
type Config struct {
	// ID names the DEA in subjects and messages. Empty draws "<Index>-<32 hex digits>", new for each DEA.
	ID string

	// Index of the job, for the tags of routes.
	Index int

	// BaseDir holds db/instances.json and crashes/.
	BaseDir string

	// HostIP is the address that the DEA gives for itself. Empty takes the address of the interface that leads
	// outside, or 127.0.0.1 where none does.
	HostIP string

	// Stacks that can be run here; default one, "cflinuxfs2". A start message that names another one fails, unless
	// Instance.RootFS decides.
	Stacks []string

	// Zone for placement; default "default".
	Zone string

	// FilesHost is the host name under which the files of instances are served, FilesPort the port of the directory
	// server here. When both are set, the DEA registers the route; dea_ng draws the name as <32 hex digits>.<domain>.
	FilesHost string
	FilesPort uint16

	// FilesURL is what signed URLs begin with; default "http://" and FilesHost. Empty FilesHost and FilesURL mean that
	// there are no signed URLs.
	FilesURL string

	AdvertiseInterval time.Duration // default 5 s
	HeartbeatInterval time.Duration // default 10 s
	RegisterInterval  time.Duration // default 20 s; a router may ask for less

	// EvacuationInterval is the pause between two looks at an evacuation; default 5 s. EvacuationBailOut is when it ends
	// although instances are left; default 600 s.
	EvacuationInterval time.Duration
	EvacuationBailOut  time.Duration

	// ShutdownTimeout is how long instances may take to stop before they are ended without grace; default 30 s.
	ShutdownTimeout time.Duration

	// CrashLifetime is how long the files of a crash are kept; default 1 h. They go earlier when a newer crash of the
	// app comes, or when the disk is fuller than CrashDiskUsage, a fraction of its blocks, or CrashInodeUsage, a fraction
	// of its inodes; default 0.8 each.
	CrashLifetime                   time.Duration
	CrashDiskUsage, CrashInodeUsage float64

	// CrashReapInterval is how often crashes are looked at; default 10 s. DropletReapInterval is how often droplets that
	// nobody uses are removed; default 1 min.
	CrashReapInterval, DropletReapInterval time.Duration

	// OrphanReapInterval is how often the back end is asked for containers of this DEA that belong to no instance any
	// more; default 1 min. They are destroyed when two looks in a row found them.
	OrphanReapInterval time.Duration

	// URL of the HTTPS entry, told in offers: the Cloud Controller sends starts there instead of by NATS. Empty means that
	// there is none.
	URL string

	// NoNATSHeartbeat leaves out dea.heartbeat, for a health manager that is told by Parts.PostHeartbeat (from 2016).
	NoNATSHeartbeat bool

	// LegacySubjects answers dea.discover and droplet.status too, as dea_ng did until 2013.
	LegacySubjects bool

	// QuietEvacuation leaves out the droplet.exited messages of an evacuation, as the last dea_ng did; health managers
	// of its time read the heartbeat.
	QuietEvacuation bool

	// Instance says how instances are run. Its CrashDir is set by the DEA; its Owner, by which a DEA knows its own
	// containers after a restart, is made from BaseDir if it is empty; its Runtime, for droplets from before there were
	// buildpacks, is Runtimes with today's catalogue, not strict, if it is nil.
	Instance instance.Config
}

// Parts are what a DEA works with.
type Parts struct {
	Conn    *nats.Conn        // the caller closes it, after Run
	Backend container.Backend // the caller closes it, after Run

	// Ledger is shared with whoever else takes memory and disk of this machine: a stager, for example.
	Ledger   *resources.Ledger
	Droplets *droplet.Store

	// Signer makes the URLs of files; nil means that there are none.
	Signer *directory.Signer

	// PostHeartbeat gets each heartbeat, too; it must not block. Nil means that heartbeats go by NATS only.
	PostHeartbeat func(messaging.Heartbeat)

	// Staging is the stager that stands beside this DEA, if there is one. An evacuation waits for it, and the snapshot
	// tells of its tasks.
	Staging Staging

	// Logs gets what the DEA tells people about their apps, and, where the back end lets it see files, what the apps
	// themselves write. The caller runs it for longer than the DEA. Nil discards.
	Logs applog.Emitter

	// LogLines bounds what one instance may write to Logs, in lines per second; 0 means no limit.
	LogLines int

	Logger *slog.Logger // nil discards
}

// Staging is what a DEA asks of a stager; *stager.Stager is one. Its methods may be called from any goroutine. Whoever
// wires the two calls [DEA.StagingChanged] when a task comes or goes.
type Staging interface {
	Tasks() int                        // that are at work
	Records() []instance.StagingRecord // for the snapshot
}

func (c Config) withDefaults() Config {
	if c.ID == "" {
		c.ID = fmt.Sprintf("%d-%s", c.Index, randomHex())
	}
	if len(c.Stacks) == 0 {
		c.Stacks = []string{"cflinuxfs2"}
	}
	if c.HostIP == "" {
		c.HostIP = component.LocalIP()
	}
	if c.FilesURL == "" && c.FilesHost != "" {
		c.FilesURL = "http://" + c.FilesHost
	}
	if c.Instance.RootFS == nil {
		c.Instance.RootFS = c.defaultRootFS
	}
	if c.Instance.Runtime == nil {
		c.Instance.Runtime = Runtimes(runtimes.Today(), false)
	}
	setDefault(&c.Zone, "default")
	setDefault(&c.AdvertiseInterval, 5*time.Second)
	setDefault(&c.HeartbeatInterval, 10*time.Second)
	setDefault(&c.RegisterInterval, 20*time.Second)
	setDefault(&c.EvacuationInterval, 5*time.Second)
	setDefault(&c.EvacuationBailOut, 600*time.Second)
	setDefault(&c.ShutdownTimeout, 30*time.Second)
	setDefault(&c.CrashLifetime, time.Hour)
	setDefault(&c.CrashDiskUsage, 0.8)
	setDefault(&c.CrashInodeUsage, 0.8)
	setDefault(&c.CrashReapInterval, 10*time.Second)
	setDefault(&c.DropletReapInterval, time.Minute)
	setDefault(&c.OrphanReapInterval, time.Minute)
	c.Instance.CrashDir = filepath.Join(c.BaseDir, "crashes")
	if c.Instance.Owner == "" {
		dir, err := filepath.Abs(c.BaseDir)
		if err != nil { // there is no working directory
			dir = c.BaseDir
		}
		c.Instance.Owner = "dea " + dir
	}
	return c
}

// defaultRootFS takes the back end's root file system for every stack that there is; a message of early 2014 names none.
func (c Config) defaultRootFS(stack string) (string, error) {
	if stack != "" && !slices.Contains(c.Stacks, stack) {
		return "", fmt.Errorf("Stack %s does not exist", stack) //nolint:staticcheck // the text of dea_ng
	}
	return "", nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) validate() error {
	var errs []error
	if c.BaseDir == "" {
		errs = append(errs, errors.New("BaseDir is required"))
	}
	if !messaging.IsToken(c.ID) {
		errs = append(errs, fmt.Errorf("ID %q must not contain '.', '*', '>' or blanks: it becomes part of a subject", c.ID))
	}
	for name, interval := range map[string]time.Duration{
		"AdvertiseInterval": c.AdvertiseInterval, "HeartbeatInterval": c.HeartbeatInterval,
		"RegisterInterval": c.RegisterInterval, "EvacuationInterval": c.EvacuationInterval,
		"CrashReapInterval": c.CrashReapInterval, "DropletReapInterval": c.DropletReapInterval,
		"OrphanReapInterval": c.OrphanReapInterval,
	} {
		if interval < 0 {
			errs = append(errs, fmt.Errorf("%s must not be negative", name))
		}
	}
	return errors.Join(errs...)
}

func (p Parts) validate() error {
	var errs []error
	for name, missing := range map[string]bool{
		"Conn": p.Conn == nil, "Backend": p.Backend == nil, "Ledger": p.Ledger == nil, "Droplets": p.Droplets == nil,
	} {
		if missing {
			errs = append(errs, fmt.Errorf("%s is required", name))
		}
	}
	return errors.Join(errs...)
}

func randomHex() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
