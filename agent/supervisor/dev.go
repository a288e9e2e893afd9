package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deakit/deakit/agent/alert"
)

// ErrNotRunning: Dev.Run was not called yet, or has ended.
var ErrNotRunning = errors.New("the supervisor is not running")

// DevConfig says how processes are kept running without monit.
type DevConfig struct {
	Base string // base directory, "/var/vcap"; required

	// Poll is how often each process is looked at; default 1 s.
	Poll time.Duration

	// Backoff is the pause before a process is started again, twice as long each time, up to BackoffMax; defaults 1 s and 1 min.
	// A process that has run for BackoffMax begins anew.
	Backoff, BackoffMax time.Duration

	// StopTimeout is how long StopAndWait waits; default 5 min.
	StopTimeout time.Duration

	// Report gets what happens to processes. It must not wait. Nil discards.
	Report func(alert.Event)

	Logger *slog.Logger // nil discards
}

// Dev is a JobSupervisor for development: it starts, watches and stops processes itself, by what their monit files say (see
// [ParseMonit]), and runs without root. Unlike monit it does not outlive the agent: what it has started ends with Run.
type Dev struct {
	cfg   DevConfig
	log   *slog.Logger
	files Files

	mu      sync.Mutex
	started time.Time // part of the ids of events
	events  int
	run     *devRun // nil unless Run runs
	broken  error   // why the installed monit files do not count; nil when they do
}

var _ JobSupervisor = (*Dev)(nil)

// A devRun is what one Run has. keepers is guarded by Dev.mu.
type devRun struct {
	ctx     context.Context
	work    sync.WaitGroup
	keepers map[string]*keeper
}

// NewDev returns a supervisor that Run starts.
func NewDev(cfg DevConfig) (*Dev, error) {
	if cfg.Base == "" {
		return nil, errors.New("supervisor: DevConfig.Base is missing: the base directory")
	}
	fill := func(field *time.Duration, value time.Duration) {
		if *field <= 0 {
			*field = value
		}
	}
	fill(&cfg.Poll, time.Second)
	fill(&cfg.Backoff, time.Second)
	fill(&cfg.BackoffMax, time.Minute)
	fill(&cfg.StopTimeout, 5*time.Minute)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Dev{cfg: cfg, log: cfg.Logger, files: Files(cfg.Base), started: time.Now()}, nil
}

// Run watches until ctx ends, then stops all processes, and returns nil when they have ended. What the installed monit files say is
// loaded at once, and started unless it was stopped on purpose. When that fails it is logged, for a Reload may mend it. Run may be
// called again when it has returned.
func (d *Dev) Run(ctx context.Context) error {
	r := &devRun{ctx: ctx, keepers: map[string]*keeper{}}
	defer r.work.Wait()
	d.mu.Lock()
	if d.run != nil {
		d.mu.Unlock()
		return errors.New("supervisor: Run runs already")
	}
	d.run = r
	if err := d.resume(r); err != nil {
		d.log.Error("supervisor.resume.failed", "error", err)
	}
	d.mu.Unlock()
	<-ctx.Done()
	d.mu.Lock()
	d.run = nil
	d.mu.Unlock()
	return nil
}

// resume begins where the last Run ended. d.mu is held.
func (d *Dev) resume(r *devRun) error {
	if err := d.load(r); err != nil {
		return err
	}
	stopped, err := d.files.Stopped()
	if err != nil || stopped {
		return err
	}
	for _, k := range r.keepers {
		k.set(wantRunning)
	}
	return nil
}

// AddJob implements JobSupervisor. That a file cannot be understood is an error of Reload, and told here: it can be mended before a
// start.
func (d *Dev) AddJob(file JobFile) error {
	if _, _, err := ParseMonit(file.Content); err != nil {
		d.log.Warn("supervisor.monit.unreadable", "job", file.Label, "error", err, "hint", "the jobs cannot be started until its monit file is mended")
	}
	return d.files.Add(file)
}

// RemoveJobs implements JobSupervisor.
func (d *Dev) RemoveJobs() error { return d.files.RemoveAll() }

// Reload implements JobSupervisor. A process that the files name no more, or in another way, is stopped.
func (d *Dev) Reload(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.run == nil {
		return fmt.Errorf("reload the supervisor: %w", ErrNotRunning)
	}
	return d.load(d.run)
}

// load makes the installed files count. d.mu is held.
func (d *Dev) load(r *devRun) error {
	definitions, err := d.definitions()
	d.broken = err
	if err != nil {
		return fmt.Errorf("reload the supervisor: %w", err)
	}
	for name, k := range r.keepers {
		if wanted, ok := definitions[name]; !ok || !reflect.DeepEqual(wanted, k.definition) {
			k.set(wantGone)
			delete(r.keepers, name)
		}
	}
	for name, definition := range definitions {
		if r.keepers[name] == nil {
			k := newKeeper(d, definition)
			r.keepers[name] = k
			r.work.Go(func() { k.run(r.ctx) })
		}
	}
	return nil
}

// definitions reads all installed files.
func (d *Dev) definitions() (map[string]Definition, error) {
	files, err := d.files.All()
	if err != nil {
		return nil, err
	}
	all := map[string]Definition{}
	for name, text := range files {
		processes, ignored, err := ParseMonit(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(ignored) > 0 {
			d.log.Info("supervisor.monit.ignored", "file", name, "statements", ignored)
		}
		for _, p := range processes {
			if _, twice := all[p.Name]; twice {
				return nil, fmt.Errorf("%s: process %s is in another file, too", name, p.Name)
			}
			if (p.Start.UID != "" || p.Start.GID != "") && os.Geteuid() != 0 {
				d.log.Warn("supervisor.user.ignored", "process", p.Name, "reason", "only root starts programs as someone else")
			}
			all[p.Name] = p
		}
	}
	return all, nil
}

// each calls f with every keeper.
func (d *Dev) each(f func(*keeper)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.run == nil {
		return ErrNotRunning
	}
	for _, k := range d.run.keepers {
		f(k)
	}
	return nil
}

// Start implements JobSupervisor.
func (d *Dev) Start(ctx context.Context) error {
	if err := d.each(func(k *keeper) { k.set(wantRunning) }); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return d.files.SetStopped(false)
}

// Stop implements JobSupervisor.
func (d *Dev) Stop(ctx context.Context) error {
	if err := d.each(func(k *keeper) { k.set(wantStopped) }); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return d.files.SetStopped(true)
}

// StopAndWait implements JobSupervisor.
func (d *Dev) StopAndWait(ctx context.Context) error {
	if err := d.Stop(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.StopTimeout)
	defer cancel()
	var waiting []*keeper
	if err := d.each(func(k *keeper) { waiting = append(waiting, k) }); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	var late []string
	for _, k := range waiting {
		if !k.waitStopped(ctx) {
			late = append(late, k.definition.Name)
		}
	}
	if len(late) > 0 {
		slices.Sort(late)
		return fmt.Errorf("Timed out waiting for services '%s' to stop after %s", strings.Join(late, ", "), d.cfg.StopTimeout)
	}
	return nil
}

// Unmonitor implements JobSupervisor.
func (d *Dev) Unmonitor(ctx context.Context) error {
	if err := d.each(func(k *keeper) { k.set(wantUnwatched) }); err != nil {
		return fmt.Errorf("unmonitor: %w", err)
	}
	return nil
}
