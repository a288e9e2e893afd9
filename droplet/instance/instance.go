package instance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/messaging"
)

// Config says how instances are run. The zero Config is usable.
type Config struct {
	// CrashDir is where the logs of crashed instances are kept, one directory each. Empty keeps none.
	CrashDir string

	// HealthCheckTimeout applies when the start message has none; default 60 s.
	HealthCheckTimeout time.Duration

	// StateFileTimeout bounds the wait for a droplet that names a state file; default 300 s.
	StateFileTimeout time.Duration

	// RouteDrain is how long a stopped instance that has routes goes on running after its routes were withdrawn, so
	// that routers hear of it first; default 0.
	RouteDrain time.Duration

	// SampleInterval is the time between two measurements of a running instance; default 10 s. It has no effect where there
	// is a Parts.Sampler.
	SampleInterval time.Duration

	// NProc is the number of processes and threads that the user of the instance may have; default 512. It is only
	// set where the back end gives the instance a user of its own: elsewhere it would count the whole machine's.
	NProc uint64

	// DiskInodes is the number of files that an instance may have; default 200000.
	DiskInodes int64

	// Hooks of the operator, each of which may take HookTimeout; default 60 s.
	Hooks       Hooks
	HookTimeout time.Duration

	// PostSetup is shell text that the start script runs right before the app (post_setup_hook of dea_ng).
	PostSetup string

	// StopRetry is the pause before a stop that failed is tried again; default 60 s.
	StopRetry time.Duration

	// Owner marks the containers of this node (the property "owner"), so that a later process takes up its own and no
	// others. It has to stay the same from process to process. Empty means that containers have no mark.
	Owner string

	// Bandwidth of each container; nil means no limit.
	Bandwidth *container.Bandwidth

	// BindMounts are added to every container.
	BindMounts []container.BindMount

	// CPUShares turns the memory limit in MB into the weight of the container; nil divides by 8 and keeps the
	// result between 1 and 256 (dea_ng).
	CPUShares func(memoryMB int64) int64

	// RootFS returns the root file system of a stack; nil means that there is one stack, the back end's default.
	RootFS func(stack string) (string, error)

	// Runtime finds what runs the apps of droplets from before there were buildpacks. Nil means that there are no
	// runtimes: such droplets run only if they know theirs.
	Runtime FindRuntime
}

func (c Config) withDefaults() Config {
	setDefault(&c.HealthCheckTimeout, 60*time.Second)
	setDefault(&c.StateFileTimeout, 300*time.Second)
	setDefault(&c.SampleInterval, 10*time.Second)
	setDefault(&c.HookTimeout, 60*time.Second)
	setDefault(&c.StopRetry, 60*time.Second)
	setDefault(&c.NProc, 512)
	setDefault(&c.DiskInodes, 200_000)
	if c.CPUShares == nil {
		c.CPUShares = func(mb int64) int64 { return min(max(mb/8, 1), 256) }
	}
	if c.RootFS == nil {
		c.RootFS = func(string) (string, error) { return "", nil }
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Parts are what an instance works with. All are required but the last three.
type Parts struct {
	Backend  container.Backend
	Droplets *droplet.Store
	Ledger   *resources.Ledger

	// Download writes the droplet behind a URL to w; the digest is checked by the store.
	Download func(ctx context.Context, url string, w io.Writer) error

	// Observe is told each change, in order, while the instance is locked: it must not block nor call back.
	Observe func(Change)

	// Sampler measures the instance while it runs, as it does all others of the node; whoever made it calls its Run. With nil,
	// the instance has one of its own, which costs more where there are many.
	Sampler *resources.Sampler

	// Logs follows what the app writes, for as long as it runs; nil leaves it in the files of the container.
	Logs *applog.Follower

	Logger *slog.Logger // nil discards
}

// A Change is one transition, or, when From is the state of Status, tells that the app was spawned or, of a crash, that
// its container is gone and its last words were read. The status is the one after it.
type Change struct {
	Instance *Instance
	From     messaging.State // empty when the instance was made
	Status   Status
}

// Status is what can be known of an instance at one moment.
type Status struct {
	ID        string // 32 hex digits; changes when an update gives the app a new version
	Version   string
	URIs      []string
	State     messaging.State
	Since     time.Time // of the state
	StartedAt time.Time // when it became STARTING; zero before

	Container container.Info // zero until there is one
	Handle    string         // of the container, empty when there is none
	ProcessID uint32         // of the app in its container, 0 before it was spawned
	HostPort  uint16
	Port      uint16 // in the container
	Scripts   bool   // the app is started and stopped by scripts of its droplet, as before there were buildpacks

	Usage container.Usage // last measurement; zero before the first
	CPU   float64         // fraction of one core between the last two measurements

	ExitStatus      int // -1 when unknown
	ExitDescription string
	StartError      error  // why the instance did not come up, in more words than ExitDescription; nil when it did
	CrashPath       string // where the files of a crashed instance are kept, empty when there are none
}

// Healthy tells whether the instance serves requests.
func (s Status) Healthy() bool {
	return s.State == messaging.Running || s.State == messaging.Evacuating
}

// An Instance is one copy of an app. Its methods may be called from any goroutine.
type Instance struct {
	message   messaging.StartMessage
	privateID string
	cfg       Config
	parts     Parts
	log       *slog.Logger

	reservation *resources.Reservation

	mu     sync.Mutex // guards what follows
	status Status

	// stopping ends when a stop was asked for; the start sequence and the wait for the app hang on it.
	stopping context.Context
	stop     context.CancelFunc

	again   chan struct{} // receives when a stop is asked for once more: one that failed is retried at once
	resumed *life         // what Resume found, for Run
}

// New makes an instance in state BORN and reserves its memory and disk. It fails with a
// *resources.InsufficientError when there is not enough; then nothing is observed. The caller calls Run, and Release
// when the instance is to be forgotten.
func New(start messaging.StartMessage, cfg Config, parts Parts) (*Instance, error) {
	parts.Logger = loggerOf(parts)
	start.Limits = bounded(start.Limits)
	reservation, err := parts.Ledger.Reserve(amount(start.Limits))
	if err != nil {
		return nil, err
	}
	return born(start, cfg, parts, reservation), nil
}

// NewIn is [New] in room that was reserved before: the reservation is made as large as the instance needs, and belongs to it.
// When that fails it is released.
func NewIn(room *resources.Reservation, start messaging.StartMessage, cfg Config, parts Parts) (*Instance, error) {
	parts.Logger = loggerOf(parts)
	start.Limits = bounded(start.Limits)
	if err := room.Resize(amount(start.Limits)); err != nil {
		room.Release()
		return nil, err
	}
	return born(start, cfg, parts, room), nil
}

func born(start messaging.StartMessage, cfg Config, parts Parts, reservation *resources.Reservation) *Instance {
	i := build(start, randomHex(16), randomHex(32), cfg, parts, reservation)
	i.status.State = messaging.Born
	i.parts.Observe(Change{Instance: i, Status: i.status})
	return i
}

func build(start messaging.StartMessage, id, privateID string, cfg Config, parts Parts, r *resources.Reservation) *Instance {
	i := &Instance{
		message: start, privateID: privateID, cfg: cfg.withDefaults(), parts: parts, reservation: r, again: make(chan struct{}, 1),
		log: parts.Logger.With("app", string(start.Droplet), "index", start.Index, "instance", id),
	}
	i.stopping, i.stop = context.WithCancel(context.Background())
	i.status = Status{ID: id, Version: start.Version, URIs: slices.Clone(start.URIs), Since: time.Now(), ExitStatus: -1}
	return i
}

func loggerOf(p Parts) *slog.Logger {
	if p.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return p.Logger
}

// bounded keeps limits to what fits: beyond this many megabytes the bytes would not fit a number any more, and a huge
// limit would look like a small one.
func bounded(l messaging.Limits) messaging.Limits {
	const most = 1 << 40
	l.Mem, l.Disk = min(l.Mem, most), min(l.Disk, most)
	return l
}

func amount(l messaging.Limits) resources.Amount {
	return resources.Amount{MemoryBytes: l.Mem << 20, DiskBytes: l.Disk << 20}
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// Message is the start message that the instance was made from. The caller must not change it.
func (i *Instance) Message() *messaging.StartMessage { return &i.message }

// App is the guid of the app.
func (i *Instance) App() string { return string(i.message.Droplet) }

// Index of the instance within its app.
func (i *Instance) Index() int { return i.message.Index }

// PrivateID is the 64 hex digits by which routers keep sessions to this instance. It never changes.
func (i *Instance) PrivateID() string { return i.privateID }

// Status returns the state of things now.
func (i *Instance) Status() Status {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.snapshot()
}

func (i *Instance) snapshot() Status {
	s := i.status
	s.URIs = slices.Clone(s.URIs)
	return s
}

// Stop asks the instance to end. It returns at once; Run returns when it has ended. Stopping what is stopping, stopped
// or crashed is harmless.
func (i *Instance) Stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.status.State == messaging.Born:
		i.change(messaging.Stopped, nil)
	case i.status.State == messaging.Stopping:
		select {
		case i.again <- struct{}{}:
		default: // told already
		}
	case checkTransition(i.status.State, messaging.Stopping) == nil:
		i.change(messaging.Stopping, nil)
	}
	i.stop()
}

// Evacuate marks a live instance as one that wants to be replaced elsewhere; it goes on running. It returns false when
// there is nothing to evacuate.
func (i *Instance) Evacuate() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if checkTransition(i.status.State, messaging.Evacuating) != nil {
		return false
	}
	i.change(messaging.Evacuating, nil)
	return true
}

// Update sets the routes and the version of an instance that is RUNNING or EVACUATING, nil leaving either as it is. A new
// version gives the instance a new id. It returns the status before and after; they are equal when nothing changed. One
// that does not serve stays as it is: its end has been told with its id, and its routes are withdrawn.
func (i *Instance) Update(uris *[]string, version *string) (before, after Status) {
	i.mu.Lock()
	defer i.mu.Unlock()
	before = i.snapshot()
	if !before.Healthy() {
		return before, before
	}
	if uris != nil {
		i.status.URIs = slices.Clone(*uris)
	}
	if version != nil && *version != i.status.Version {
		i.status.Version, i.status.ID = *version, randomHex(16)
	}
	return before, i.snapshot()
}

// Release gives back what the instance still holds of the ledger: the disk of a crash, for example. It is harmless
// when called twice.
func (i *Instance) Release() { i.reservation.Release() }

// transition changes the state along the table, together with other fields.
func (i *Instance) transition(to messaging.State, edit func(*Status)) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := checkTransition(i.status.State, to); err != nil {
		return err
	}
	i.change(to, edit)
	return nil
}

// change sets the state and tells the observer; i.mu is held and the transition was checked.
func (i *Instance) change(to messaging.State, edit func(*Status)) {
	from := i.status.State
	i.status.State, i.status.Since = to, time.Now()
	if to == messaging.Starting {
		i.status.StartedAt = i.status.Since
	}
	if edit != nil {
		edit(&i.status)
	}
	i.parts.Observe(Change{Instance: i, From: from, Status: i.snapshot()})
}

// edit changes fields other than the state.
func (i *Instance) edit(edit func(*Status)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	edit(&i.status)
}

// announce is edit for what a next life has to know: the observer is told.
func (i *Instance) announce(edit func(*Status)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	edit(&i.status)
	i.parts.Observe(Change{Instance: i, From: i.status.State, Status: i.snapshot()})
}

// String names the instance by app and index.
func (i *Instance) String() string {
	return fmt.Sprintf("%s/%d", i.App(), i.Index())
}
