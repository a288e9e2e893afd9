package node

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/agent"
	"github.com/deakit/deakit/agent/blobstore"
	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/methods"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/agent/supervisor"
	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/agent/transport/seal"
	"github.com/deakit/deakit/agent/vitals"
	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/internal/pidfile"
)

// A machine is what the steps of a start have come to. They run one after the other; what runs later reads only.
type machine struct {
	cfg Config
	log *slog.Logger
	end context.CancelCauseFunc // ends the node

	pid       *pidfile.File
	group     int // number of the group vcap, 0 where the agent cannot or need not give files away
	loader    *settings.Loader
	current   atomic.Pointer[settings.Settings] // as they were loaded last
	update    settings.Update                   // what a director has changed before
	effective settings.Effective
	keys      *seal.Keys // nil: messages are not encrypted

	conn     *nats.Conn   // over NATS
	listener net.Listener // over HTTPS
	place    Place
	blobRoot *os.Root
	sent     *blobstore.Local // what was put at the agent over HTTPS

	bus        transport.Transport
	blobs      *blobstore.Client
	sensitive  *blobstore.Local // what upload_blob brought
	disks      *disk.Manager
	supervisor supervisor.JobSupervisor
	vitals     *vitals.Source
	heart      *heartbeat.Agent // nil over HTTPS
	methods    *methods.Machine
	agent      *agent.Agent

	services []service
	hurry    bool // the first heartbeat is late; belongs to the service that sends it
}

// A service runs beside the agent.
type service struct {
	name string
	run  func(context.Context) error
}

func (m *machine) service(name string, run func(context.Context) error) {
	m.services = append(m.services, service{name, run})
}

type step struct {
	name string
	do   func(context.Context) error
}

// steps are how a machine comes up, in the order of the Go agent as far as it goes (bosh-agent, app and bootstrap).
func (m *machine) steps() []step {
	steps := []step{
		{"take the base directory", m.claim},
		{"load settings", m.loadSettings},
	}
	for _, s := range m.cfg.Machine {
		steps = append(steps, step{s.Name, func(ctx context.Context) error { return s.Do(ctx, m.current.Load()) }})
	}
	return append(steps,
		step{"tell clients how to reach the agent", m.tellClients},
		step{"make directories", m.makeDirs},
		step{"have in memory what does not outlive the machine", m.mountMemory},
		step{"note time servers", m.noteTimeServers},
		step{"open the bus", m.openBus},
		step{"open the blob stores", m.openBlobs},
		step{"find the disks", m.openDisks},
		step{"prepare the supervisor", m.openSupervisor},
		step{"prepare vitals, heartbeats and alerts", m.openHealth},
		step{"prepare the methods", m.openMethods},
		step{"mount the persistent disk and make the directories of jobs", m.bootMethods},
		step{"name the persistent disks", m.nameDisks},
		step{"prepare the agent", m.openAgent},
		step{"note that the machine has come up", m.noteStart},
	)
}

// claim makes the base directory this agent's alone.
func (m *machine) claim(context.Context) (err error) {
	dir := filepath.Join(m.cfg.Base, "bosh")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	m.pid, err = pidfile.Create(filepath.Join(dir, "agent.pid"))
	return err
}

func (m *machine) loadSettings(ctx context.Context) error {
	cfg := settings.LoaderConfig{Source: m.cfg.Source, Dir: filepath.Join(m.cfg.Base, "bosh"), Logger: m.log}
	if m.cfg.Tmpfs {
		cfg.Volatile = func(ctx context.Context, dir string) error {
			return m.mountTmpfs(ctx, tmpfs{dir: dir, size: "16m", mode: 0o700})
		}
	}
	m.loader = settings.NewLoader(cfg)
	s, err := m.load(ctx)
	if err != nil {
		return err
	}
	if s.AgentID == "" {
		return errors.New("neither the settings nor the command line say the agent's id")
	}
	update, err := m.loader.Update()
	if err != nil {
		return err
	}
	m.update, m.effective = update, s.Effective(update)
	if c := s.Env.Bosh.Credentials; c != nil {
		m.keys = &seal.Keys{Crypt: c.CryptKey, Sign: c.SignKey}
	}
	m.log.Info("agent.settings", "agent", s.AgentID)
	return nil
}

// load asks for the settings anew, and fills in what they do not say.
func (m *machine) load(ctx context.Context) (*settings.Settings, error) {
	s, err := m.loader.Load(ctx)
	if err != nil {
		return nil, err
	}
	s = withDefault(s, m.cfg.Default)
	m.current.Store(s)
	return s, nil
}

// withDefault fills in what settings do not say, in a copy: they are the source's, which may hand them out again.
func withDefault(said *settings.Settings, d settings.Settings) *settings.Settings {
	s := *said
	if s.AgentID == "" {
		s.AgentID = d.AgentID
	}
	if s.Mbus == "" {
		s.Mbus = d.Mbus
	}
	if s.Blobstore.Provider == "" {
		s.Blobstore.Provider = d.Blobstore.Provider
	}
	if s.Blobstore.Provider == d.Blobstore.Provider {
		options := map[string]any{}
		for _, from := range []map[string]any{d.Blobstore.Options, s.Blobstore.Options} { // the settings come last, and win
			for key, value := range from {
				options[key] = value
			}
		}
		s.Blobstore.Options = options
	}
	return &s
}

// makeDirs makes what jobs and the agent write to, with the modes of the Go agent.
func (m *machine) makeDirs(context.Context) error {
	m.group = vcapGroup()
	root, err := os.OpenRoot(m.cfg.Base)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, d := range []struct {
		name string
		mode fs.FileMode
	}{
		{"bosh/etc", 0o755}, {"bosh/log", 0o755}, {"data", 0o755}, {"data/tmp", 0o755},
		{"data/sys", 0o750}, {"data/sys/log", 0o750}, {"data/sys/run", 0o750},
		{"data/blobs", 0o700}, {"data/sensitive_blobs", 0o700}, {"monit", 0o700}, {"instance", 0o755},
	} {
		if _, err := root.Lstat(d.name); err == nil {
			continue // as somebody has made it
		}
		if err := root.MkdirAll(d.name, d.mode); err != nil {
			return err
		}
		if err := root.Chmod(d.name, d.mode); err != nil { // whatever the umask is
			return err
		}
		if m.group > 0 && strings.HasPrefix(d.name, "data/sys") {
			if err := root.Chown(d.name, 0, m.group); err != nil {
				return err
			}
		}
	}
	err = root.Symlink("data/sys", "sys")
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// vcapGroup is the group that jobs belong to, where there is one and files can be given to it.
func vcapGroup() int {
	g, err := user.LookupGroup("vcap")
	if err != nil || os.Geteuid() != 0 {
		return 0
	}
	id, err := strconv.Atoi(g.Gid)
	if err != nil {
		return 0
	}
	return id
}

// noteTimeServers writes down what a time service, or sync-time of a stemcell, is to ask (Ruby agent).
func (m *machine) noteTimeServers(context.Context) error {
	if len(m.effective.NTP) == 0 {
		return nil
	}
	return m.unlessFull(atomicfile.UpdateFile(filepath.Join(m.cfg.Base, "bosh", "etc", "ntpserver"), []byte(strings.Join(m.effective.NTP, " ")+"\n"), 0o644))
}

func (m *machine) openDisks(context.Context) (err error) {
	m.disks, err = disk.New(disk.Config{
		System: m.cfg.Disks, Resolver: m.cfg.Resolver, BaseDir: m.cfg.Base, HintsDir: m.loader.Dir(), Settings: m.load,
		Partitioner: m.cfg.Linux.PartitionerType, Preformatted: m.cfg.Linux.UsePreformattedPersistentDisk, Logger: m.log,
	})
	return err
}

// nameDisks makes the links that a director has asked for, which fails when a disk is not there any more.
func (m *machine) nameDisks(ctx context.Context) error {
	update, err := m.loader.Update()
	if err != nil || len(update.DiskAssociations) == 0 {
		return err
	}
	if err := m.disks.CheckAssociated(ctx, update.DiskAssociations); err != nil {
		return err
	}
	return m.disks.Associate(ctx, update.DiskAssociations)
}

// addresses are those of all networks, as alerts name them.
func (m *machine) addresses() []string {
	var all []string
	for _, network := range m.current.Load().Networks {
		if network.IP != "" {
			all = append(all, network.IP)
		}
	}
	slices.Sort(all)
	return all
}

// openBlobs opens the store that the settings name, and those of what is sent to the agent.
func (m *machine) openBlobs(context.Context) error {
	dir := func(parts ...string) string { return filepath.Join(append([]string{m.cfg.Base, "data"}, parts...)...) }
	m.sensitive = blobstore.NewLocal(dir("sensitive_blobs"), blobstore.LocalOptions{})
	m.sent = blobstore.NewLocal(dir("blobs"), blobstore.LocalOptions{})
	named := m.effective.Blobstore
	if named.Provider == "" {
		named.Provider = "dummy" // all blobs are sent to the agent
	}
	store, err := blobstore.Open(named.Provider, named.Options, blobstore.Environment{BaseDir: m.cfg.Base, TempDir: dir("tmp"), NATS: m.conn})
	if err != nil {
		return err
	}
	m.blobs, err = blobstore.NewClient(blobstore.Config{
		Store: store, Sent: []*blobstore.Local{m.sensitive, m.sent}, TempDir: dir("tmp"), Logger: m.log,
	})
	return err
}
