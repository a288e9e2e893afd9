package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
)

// Blobs is where the controller keeps packages and finds droplets. The URLs carry what a stager or a DEA needs to be
// let in.
type Blobs interface {
	PackageURL(app string) string
	DropletUploadURL(app string) string
	DropletURL(app, sha1 string) string
	CacheURL(app string) string       // for GET
	CacheUploadURL(app string) string // for POST
	BuildpackURL(key string) string

	PutPackage(ctx context.Context, app string, r io.Reader) error
	PutBuildpack(ctx context.Context, key string, r io.Reader) error
}

// Config of a controller.
type Config struct {
	Domain string // apps are reached at <name>.<Domain>
	Stack  string // asked for in messages; empty means any

	// Buildpacks are tried in this order for apps that name none. They must be in Blobs.
	Buildpacks []string

	// StagingTimeout bounds one staging, from the request to its result; default 15 min.
	StagingTimeout time.Duration

	// RolloutTimeout bounds the time in which a new version has to come up; default 2 min.
	RolloutTimeout time.Duration

	// PlacementTimeout is how long a new version waits for a DEA with room while none of its instances starts; default 20 s.
	PlacementTimeout time.Duration

	// Silence is how long nothing may come of a DEA before its instances are replaced; default 30 s.
	Silence time.Duration

	// Strangers is how long instances of apps that were never pushed to this Controller are left alone; default 1 min. Whoever
	// restarts a controller that forgot its apps can push them again meanwhile.
	Strangers time.Duration

	// Tick is how often the controller compares what is with what should be when nothing happens; default 1 s.
	Tick time.Duration

	// Evacuate tells a DEA to leave, as an operator's signal does; false when there is none of this id. It may be nil.
	Evacuate func(dea string) bool

	Logger *slog.Logger // nil discards
}

// A Controller runs apps. Its methods may be called from any goroutine.
type Controller struct {
	cfg    Config
	conn   *nats.Conn
	blobs  Blobs
	log    *slog.Logger
	events *journal[Event]
	logs   *logs

	mu        sync.Mutex // guards what follows
	apps      map[string]*app
	deleted   map[string]deletion // apps that are no more, by guid
	deas      offers
	stagers   offers
	stagings  int // that stagers work on for us
	nodes     map[string]*node
	monitor   *heartbeat.Monitor
	lived     map[heartbeat.Slot]string // the DEA that listed an instance in a slot last, unless it is known to have ended
	strangers map[string]time.Time      // instances of apps that we do not know, and since when they are seen
	told      map[string]time.Time      // problems that were told already, so that they are not told at each look
}

// app is what should run.
type app struct {
	Settings
	guid    string
	stopped bool
	crashed bool     // its first version did not come up; kept so that its logs can be read
	release release  // wanted
	rollout *rollout // nil when no new version is on its way
	staging bool

	crashes map[int]crash // by index: the last one
}

// A crash is the end of an instance, whose files its DEA keeps for a while.
type crash struct {
	instance string
	at       time.Time
}

// A deletion is what is remembered of an app that is no more, as long as its crashed instances may be.
type deletion struct {
	name string
	at   time.Time
}

// remembered is how long a DEA keeps the files of a crashed instance, about.
const remembered = 2 * time.Hour

// A release is one staged version of an app.
type release struct {
	version   string
	sha1      string
	buildpack string
	command   string
}

// New returns a controller that does nothing yet.
func New(cfg Config, conn *nats.Conn, blobs Blobs) *Controller {
	cfg.StagingTimeout = cmp.Or(cfg.StagingTimeout, 15*time.Minute)
	cfg.RolloutTimeout = cmp.Or(cfg.RolloutTimeout, 2*time.Minute)
	cfg.PlacementTimeout = cmp.Or(cfg.PlacementTimeout, 20*time.Second)
	cfg.Silence = cmp.Or(cfg.Silence, 30*time.Second)
	cfg.Strangers = cmp.Or(cfg.Strangers, time.Minute)
	cfg.Tick = cmp.Or(cfg.Tick, time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Controller{
		cfg: cfg, conn: conn, blobs: blobs, log: cfg.Logger, events: newEvents(), logs: newLogs(),
		apps: map[string]*app{}, deleted: map[string]deletion{}, deas: offers{}, stagers: offers{}, nodes: map[string]*node{},
		lived: map[heartbeat.Slot]string{}, strangers: map[string]time.Time{}, told: map[string]time.Time{},
		// A controller that starts knows of no app, so there is nothing that it could start twice.
		monitor: heartbeat.NewMonitor(heartbeat.Config{Settle: -1, TTL: cfg.Silence}),
	}
}

// Run listens to the bus and keeps apps running until ctx ends. The apps go on without it.
func (c *Controller) Run(ctx context.Context) error {
	in, lines := messaging.NewInbox(c.conn, c.log), messaging.NewInbox(c.conn, c.log) // so that many lines delay nothing else
	defer in.Close()
	defer lines.Close()
	if err := errors.Join(c.subscribe(in), c.subscribeLogs(lines)); err != nil {
		return fmt.Errorf("controller: %w", err)
	}
	for _, ask := range []messaging.Subject[messaging.Signal]{
		messaging.DEALocate, messaging.StagingLocate, messaging.HealthManagerStart,
	} {
		if err := ask.Publish(c.conn, messaging.Signal{}); err != nil {
			c.log.Warn("controller.ask.failed", "subject", string(ask), "error", err)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return in.Run(ctx) })
	group.Go(func() error { return lines.Run(ctx) })
	group.Go(func() error {
		ticker := time.NewTicker(c.cfg.Tick)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case now := <-ticker.C:
				c.locked(func() { c.reconcile(now) })
			}
		}
	})
	return group.Wait()
}

func (c *Controller) locked(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
}

func (c *Controller) subscribe(in *messaging.Inbox) error {
	return errors.Join(
		messaging.Handle(in, messaging.DEAAdvertise, func(_ context.Context, m messaging.Advertisement) {
			c.locked(func() {
				now := time.Now()
				c.hear(m.ID, now).offered = now
				c.deas.advertised(m, now)
			})
		}),
		messaging.Handle(in, messaging.StagingAdvertise, func(_ context.Context, m messaging.StagerAdvertisement) {
			c.locked(func() { c.stagers.stagerAdvertised(m, time.Now()) })
		}),
		messaging.Handle(in, messaging.DEAShutdown, func(_ context.Context, m messaging.Goodbye) {
			c.locked(func() { c.bidFarewell(m.ID) })
		}),
		messaging.Handle(in, messaging.DEAHeartbeat, func(_ context.Context, m messaging.Heartbeat) { c.beat(m) }),
		messaging.Handle(in, messaging.DropletExited, func(_ context.Context, m messaging.Exit) { c.exited(m) }),
	)
}

// byGUID finds an app; c.mu is held.
func (c *Controller) byGUID(guid string) *app {
	for _, a := range c.apps {
		if a.guid == guid {
			return a
		}
	}
	return nil
}

// nameOf is what people call an app; c.mu is held.
func (c *Controller) nameOf(guid string) string {
	if a := c.byGUID(guid); a != nil {
		return a.Name
	}
	if was, ok := c.deleted[guid]; ok {
		return was.name + " (deleted)"
	}
	return "unknown app " + short(guid)
}

// sorted returns the apps by name; c.mu is held.
func (c *Controller) sorted() []*app {
	return slices.SortedFunc(maps.Values(c.apps), func(a, b *app) int { return cmp.Compare(a.Name, b.Name) })
}

func (a *app) routes(domain string) []string {
	if len(a.Routes) > 0 {
		return a.Routes
	}
	return []string{a.Name + "." + domain}
}
