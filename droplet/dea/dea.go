package dea

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/internal/mailbox"
	"github.com/deakit/deakit/internal/transfer"
	"github.com/deakit/deakit/messaging"
)

// A DEA runs instances on this machine. Its exported methods may be called from any goroutine.
type DEA struct {
	cfg      Config
	parts    Parts
	log      *slog.Logger
	registry instance.Registry
	outbox   *messaging.Outbox
	logs     *applog.Follower // nil: nobody wants the lines of apps
	http     *http.Client     // for droplets
	sampler  *resources.Sampler
	leaving  atomic.Bool // no new instances, no advertisements; the loop alone sets it

	// queue carries what others want done by the goroutine of Run, which alone touches the fields below.
	queue     *mailbox.Mailbox[func()]
	inbox     *messaging.Inbox
	running   sync.WaitGroup // instances and other work that Run awaits
	life      context.Context
	register  *time.Ticker
	interval  time.Duration // of register
	retired   bool          // no advertisements
	withdrawn bool          // no routes any more
	orphans   orphans
	evacuate  *evacuation // nil when there is none

	// What the messages and changes handled last ask for, done once for all of them.
	heartbeatDue, snapshotDue bool
	save                      chan struct{}

	keepOrphans bool // set before anything runs: we do not know enough to call a container an orphan
}

// New checks the configuration and builds a DEA. It starts nothing and opens nothing.
func New(cfg Config, parts Parts) (*DEA, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(cfg.validate(), parts.validate()); err != nil {
		return nil, fmt.Errorf("dea: %w", err)
	}
	if parts.Logger == nil {
		parts.Logger = slog.New(slog.DiscardHandler)
	}
	log := parts.Logger.With("dea", cfg.ID)
	logs, err := newFollower(&parts, log)
	if err != nil {
		return nil, fmt.Errorf("dea: %w", err)
	}
	return &DEA{
		cfg: cfg, parts: parts, log: log, outbox: messaging.NewOutbox(parts.Conn, log), logs: logs,
		http:    &http.Client{Transport: &http.Transport{}},
		sampler: resources.NewSampler(resources.SamplerConfig{Interval: cfg.Instance.SampleInterval}),
		queue:   mailbox.New[func()](), save: make(chan struct{}, 1), interval: cfg.RegisterInterval,
	}, nil
}

// ID by which the DEA is known on NATS.
func (d *DEA) ID() string { return d.cfg.ID }

// Instances returns the instances that are registered here, in any state.
func (d *DEA) Instances() []*instance.Instance { return d.registry.All() }

// Run works until ctx ends or an evacuation is over; then it stops all instances, says good-bye and returns when
// everything that it started has ended. It returns nil when that went well. Call it once.
func (d *DEA) Run(ctx context.Context) error {
	for _, dir := range []string{"db", "crashes"} {
		if err := os.MkdirAll(filepath.Join(d.cfg.BaseDir, dir), 0o755); err != nil {
			return fmt.Errorf("dea: prepare base directory: %w", err)
		}
	}
	// Instances outlive ctx: they are stopped with grace, and cut off only when that takes too long.
	life, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer d.http.CloseIdleConnections()
	d.life = life
	defer d.measure(life)()

	// What can fail comes before what runs here is touched. Messages wait in the inbox until all of it is known again.
	d.inbox = messaging.NewInbox(d.parts.Conn, d.log)
	defer d.inbox.Close()
	if err := d.subscribe(); err != nil {
		return fmt.Errorf("dea: %w", err)
	}
	if err := d.resume(); err != nil {
		return fmt.Errorf("dea: %w", err)
	}
	saved := make(chan struct{})
	go func() { defer close(saved); d.saveSnapshots() }()

	d.tellOwnLimits()
	working, leave := context.WithCancel(ctx)
	defer leave()
	d.boot(working)
	d.loop(working)
	leave()
	d.shutdown(cut)
	close(d.save)
	<-saved
	return nil
}

// measure has all instances measured, until done is called.
func (d *DEA) measure(ctx context.Context) (done func()) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { _ = d.sampler.Run(ctx) }) // returns nil
	return func() {
		cancel()
		work.Wait()
	}
}

// tellOwnLimits says once what the back end does not enforce.
func (d *DEA) tellOwnLimits() {
	caps := d.parts.Backend.Capabilities()
	if missing := caps.Unenforced(); len(missing) > 0 {
		d.log.Warn("dea.backend.capabilities", "backend", caps.Name, "not_enforced", strings.Join(missing, ", "))
	}
}

// boot makes the DEA known: how its resumed instances are first, so that nobody misses them.
func (d *DEA) boot(ctx context.Context) {
	d.work()
	d.running.Go(func() { d.greetRouter(ctx) })
	d.hello()
	d.registerAll()
	d.advertise()
	d.heartbeatDue, d.snapshotDue = true, true
	d.settle()
	d.reapOrphans()
	d.running.Go(d.reapDroplets)
	d.log.Info("dea.started", "instances", len(d.registry.All()))
}

// loop is the life of the DEA: each thing that happens is dealt with before the next.
func (d *DEA) loop(ctx context.Context) {
	connected := d.parts.Conn.StatusChanged(nats.CONNECTED)
	defer d.parts.Conn.RemoveStatusListener(connected)
	advertise := time.NewTicker(d.cfg.AdvertiseInterval)
	defer advertise.Stop()
	heartbeat := time.NewTicker(d.cfg.HeartbeatInterval)
	defer heartbeat.Stop()
	d.register = time.NewTicker(d.interval)
	defer d.register.Stop()
	reapCrashes := time.NewTicker(d.cfg.CrashReapInterval)
	defer reapCrashes.Stop()
	reapDroplets := time.NewTicker(d.cfg.DropletReapInterval)
	defer reapDroplets.Stop()
	reapOrphans := time.NewTicker(d.cfg.OrphanReapInterval)
	defer reapOrphans.Stop()

	for !d.evacuate.over() {
		select {
		case <-ctx.Done():
			return
		case msg := <-d.inbox.C():
			d.inbox.Dispatch(ctx, msg)
		case <-d.queue.Ready():
			d.work()
		case <-connected:
			d.reconnected()
		case <-advertise.C:
			d.advertise()
		case <-heartbeat.C:
			d.heartbeat()
		case <-d.register.C:
			d.registerAll()
		case <-reapCrashes.C:
			d.reapCrashes(time.Now())
		case <-reapDroplets.C:
			d.running.Go(d.reapDroplets)
		case <-reapOrphans.C:
			d.reapOrphans()
		case <-d.evacuate.tick():
			d.evacuationPass()
		}
		d.settle()
	}
}

// work does what others have asked for.
func (d *DEA) work() {
	for _, do := range d.queue.Take() {
		do()
	}
}

// settle does what several changes at once have asked for, once.
func (d *DEA) settle() {
	if d.heartbeatDue {
		d.heartbeatDue = false
		d.heartbeat()
	}
	if d.snapshotDue {
		d.snapshotDue = false
		select {
		case d.save <- struct{}{}:
		default: // a save is about to begin and will see this change too
		}
	}
}

// snapshotRetry is the pause before a snapshot that could not be written is tried again.
const snapshotRetry = 2 * time.Second

// saveSnapshots writes the snapshot each time one is due, again when that failed, and a last one. An old picture would
// mislead the next process: it could take a running instance for an orphan.
func (d *DEA) saveSnapshots() {
	var again <-chan time.Time
	for due := true; due; {
		select {
		case _, due = <-d.save:
		case <-again:
		}
		again = nil
		if err := d.saveSnapshot(); err != nil {
			d.log.Error("dea.snapshot.failed", "error", err)
			again = time.After(snapshotRetry)
		}
	}
}

func (d *DEA) saveSnapshot() error {
	snapshot := d.registry.Snapshot()
	if d.parts.Staging != nil {
		snapshot.StagingTasks = append(snapshot.StagingTasks, d.parts.Staging.Records()...)
	}
	return snapshot.WriteFile(d.snapshotPath())
}

// StagingChanged tells the DEA that a staging task has come or gone. It never blocks.
func (d *DEA) StagingChanged() {
	d.queue.Put(func() {
		d.snapshotDue = true
		d.evacuationCheck()
	})
}

// Start starts an instance as a message on dea.<id>.start does. It returns at once; what comes of it is told on NATS.
func (d *DEA) Start(m messaging.StartMessage) { d.queue.Put(func() { d.startInstance(m, nil) }) }

// StartIn is [DEA.Start] in room of the ledger that was reserved before, by staging for example. The reservation belongs to the
// DEA from then on.
func (d *DEA) StartIn(room *resources.Reservation, m messaging.StartMessage) {
	d.queue.Put(func() { d.startInstance(m, room) })
}

// Leaving tells whether the DEA starts nothing any more.
func (d *DEA) Leaving() bool { return d.leaving.Load() }

// startInstance starts an instance in the given room, or in room that it reserves when that is nil.
func (d *DEA) startInstance(m messaging.StartMessage, room *resources.Reservation) {
	if d.leaving.Load() {
		if room != nil {
			room.Release()
		}
		d.log.Info("instance.start.refused", "app", string(m.Droplet), "index", m.Index, "reason", "the DEA is leaving")
		return
	}
	var i *instance.Instance
	var err error
	if room != nil {
		i, err = instance.NewIn(room, m, d.cfg.Instance, d.instanceParts())
	} else {
		i, err = instance.New(m, d.cfg.Instance, d.instanceParts())
	}
	if err != nil {
		d.refused(m, err)
		return
	}
	d.registry.Add(i)
	d.running.Go(func() { i.Run(d.life) })
}

// instanceParts are what instances work with.
func (d *DEA) instanceParts() instance.Parts {
	return instance.Parts{
		Backend: d.parts.Backend, Droplets: d.parts.Droplets, Ledger: d.parts.Ledger, Logs: d.logs, Sampler: d.sampler, Logger: d.log,
		Download: func(ctx context.Context, url string, w io.Writer) error {
			return transfer.Download(ctx, d.http, url, w, transfer.DownloadOptions{})
		},
		Observe: func(c instance.Change) { d.queue.Put(func() { d.changed(c) }) },
	}
}

// refused tells that there is no room for an instance. It is not kept: it never was.
func (d *DEA) refused(m messaging.StartMessage, err error) {
	d.log.Error("instance.start.insufficient-resource", "app", string(m.Droplet), "index", m.Index, "error", err)
	description := "Not enough memory resource available."
	var short *resources.InsufficientError
	if errors.As(err, &short) && short.Resource == resources.Disk {
		description = "Not enough disk resource available."
	}
	d.post(messaging.DropletExited, messaging.Exit{
		CCPartition: m.CCPartition, Droplet: m.Droplet, Version: m.Version, Instance: randomHex(), Index: m.Index,
		Reason: messaging.ReasonCrashed, ExitStatus: -1, ExitDescription: description, CrashTimestamp: time.Now().Unix(),
	})
}
