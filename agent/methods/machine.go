package methods

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/compile"
	"github.com/deakit/deakit/agent/job"
	"github.com/deakit/deakit/agent/script"
	"github.com/deakit/deakit/agent/spec"
	"github.com/deakit/deakit/internal/atomicfile"
)

// A Machine is what the methods work on. It may be used from any goroutine.
type Machine struct {
	cfg   Config
	Parts // as they were given; for reading
	log   *slog.Logger

	specs    *spec.Store
	jobs     *job.Installer
	compiler *compile.Compiler
	scripts  *script.Runner

	change turn       // of those who change the machine
	update turn       // of those who follow update_settings
	end    chan error // has one when the process is to end
	ending atomic.Bool
}

// New checks what it is given and builds a Machine. It starts nothing, and touches nothing.
func New(cfg Config, parts Parts) (*Machine, error) {
	if err := parts.check(); err != nil {
		return nil, err
	}
	cfg, err := cfg.withDefaults(parts.Settings)
	if err != nil {
		return nil, err
	}
	m := &Machine{
		cfg: cfg, Parts: parts, log: cfg.Logger, specs: spec.NewStore(cfg.Base),
		change: newTurn(), update: newTurn(), end: make(chan error, 1),
	}
	fetched := blobs{parts.Blobs}
	if m.jobs, err = job.New(job.Config{
		Base: cfg.Base, Blobs: fetched, Specs: m.specs, Monitor: parts.Supervisor, SystemRoot: cfg.SystemRoot,
		Parallel: cfg.Parallel, Owner: cfg.Owner, Logger: cfg.Logger,
	}); err != nil {
		return nil, fmt.Errorf("methods: %w", err)
	}
	if m.compiler, err = compile.New(compile.Config{
		Base: cfg.Base, Blobs: fetched, Env: cfg.Env, Parallel: cfg.Parallel, Owner: (*compile.Owner)(cfg.Owner),
		Grace: cfg.Grace, Logger: cfg.Logger,
	}); err != nil {
		return nil, fmt.Errorf("methods: %w", err)
	}
	if m.scripts, err = script.New(script.Config{
		Base: cfg.Base, Specs: m.specs, Unmonitor: parts.Supervisor.Unmonitor, NotifyShutdown: cfg.NotifyShutdown,
		Env: cfg.Env, Grace: cfg.Grace, Legacy: cfg.Legacy, Logger: cfg.Logger,
	}); err != nil {
		return nil, fmt.Errorf("methods: %w", err)
	}
	return m, nil
}

// Methods of the machine, for an agent's Config.
func (m *Machine) Methods() []action.Method {
	return slices.Concat(
		m.stateMethods(), m.jobMethods(), m.packageMethods(), m.fileMethods(), m.logMethods(), m.sshMethods(),
		m.diskMethods(), m.networkMethods(), m.settingsMethods(), m.powerMethods(), m.oldMethods(),
	)
}

// Boot puts the machine in order before the agent takes requests: it ends the scripts of a process that was killed, removes what that left
// half-written, mounts the persistent disk that was mounted last, and makes the directories that jobs write to.
func (m *Machine) Boot(ctx context.Context) error {
	if err := m.scripts.EndOrphans(ctx); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	if err := m.cleanTemp(); err != nil {
		return fmt.Errorf("boot: clean up temporary files: %w", err)
	}
	if err := m.Blobs.Clean(); err != nil {
		return fmt.Errorf("boot: clean up blobs: %w", err)
	}
	if err := m.specs.Clean(); err != nil {
		return fmt.Errorf("boot: clean up specs: %w", err)
	}
	if m.Disks != nil {
		if err := m.Disks.MountAtBoot(ctx); err != nil {
			return fmt.Errorf("boot: %w", err)
		}
	}
	if err := m.jobs.MakeDirs(); err != nil {
		return fmt.Errorf("boot: make directories of jobs: %w", err)
	}
	return nil
}

// Run waits until a method wants the process to end, leaves replies a second to get out, and returns ErrRestart or ErrShutdown;
// nil when ctx ends before. It runs beside the agent, and its error ends both.
func (m *Machine) Run(ctx context.Context) error {
	var why error
	select {
	case why = <-m.end:
	case <-ctx.Done():
		return nil
	}
	m.log.Info("agent.ends", "why", why)
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return why
}

// endProcess has Run return soon. What would change the machine is refused from now on.
func (m *Machine) endProcess(why error) {
	m.ending.Store(true)
	select {
	case m.end <- why:
	default: // somebody else wants it too
	}
}

// temp is where the agent has its temporary files.
func (m *Machine) temp() string { return filepath.Join(m.cfg.Base, "data/tmp") }

// cleanTemp removes archives that were never complete.
func (m *Machine) cleanTemp() error {
	if err := os.MkdirAll(m.temp(), 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(m.temp())
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), atomicfile.TempPrefix) {
			err = errors.Join(err, os.Remove(filepath.Join(m.temp(), entry.Name())))
		}
	}
	return err
}
