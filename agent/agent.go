package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/task"
	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/messaging"
)

// Config of an Agent.
type Config struct {
	// ID by which the director knows the agent; a part of subjects, so without '.', '*', '>' and blanks. Required.
	ID string

	// Transports by which requests come, begun when the tasks of an earlier process are known again. They may be none for one
	// who calls Handle.
	Transports []transport.Transport

	// Methods beside the agent's own.
	Methods []action.Method

	// Tasks bounds the tasks. Its Store keeps persistent ones; Resume and Repeat are the agent's own.
	Tasks task.Config

	// At most Busy requests that are answered directly are at work at a time (default 64), and Waiting more wait for them
	// (default 1000); those beyond are refused. Tasks do not count, nor do methods that are quick.
	Busy, Waiting int

	Logger *slog.Logger // nil discards
}

func (c Config) withDefaults() Config {
	if c.Busy <= 0 {
		c.Busy = 64
	}
	if c.Waiting <= 0 {
		c.Waiting = 1000
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// An Agent does what it is told. Its methods may be called from any goroutine.
type Agent struct {
	cfg     Config
	log     *slog.Logger
	methods *action.Registry
	tasks   *task.Manager
	waiting chan struct{} // a place for each direct request that is at work or waits
	busy    chan struct{} // a place for each that is at work
}

// New checks the configuration and the methods, and builds an Agent. It starts nothing.
func New(cfg Config) (*Agent, error) {
	cfg = cfg.withDefaults()
	if !messaging.IsToken(cfg.ID) {
		return nil, errors.New("agent: ID must not be empty or contain '.', '*', '>' or blanks: it becomes part of a subject")
	}
	a := &Agent{
		cfg: cfg, log: cfg.Logger.With("agent", cfg.ID),
		waiting: make(chan struct{}, cfg.Busy+cfg.Waiting), busy: make(chan struct{}, cfg.Busy),
	}
	var err error
	if a.methods, err = action.New(slices.Concat(a.ownMethods(), cfg.Methods)...); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	cfg.Tasks.Resume, cfg.Tasks.Repeat = a.resume, a.repeat
	if cfg.Tasks.Logger == nil {
		cfg.Tasks.Logger = a.log
	}
	a.tasks = task.New(cfg.Tasks)
	return a, nil
}

// ID of the agent.
func (a *Agent) ID() string { return a.cfg.ID }

// Methods that the agent answers, sorted.
func (a *Agent) Methods() []string { return a.methods.Names() }

// Run takes up what an earlier process left undone, and then takes requests until ctx ends or a transport fails. First the
// transports end, with time for what is under way, then the tasks. It returns when all have ended: nil after ctx has, else
// the error of the transport. Call it once.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.tasks.Load(); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.tasks.Run(life)
	}()
	defer func() { end(); <-ended }()

	a.log.Info("agent.started", "methods", len(a.methods.Names()))
	transports, running := errgroup.WithContext(ctx)
	for _, t := range a.cfg.Transports {
		transports.Go(func() error { return t.Run(running, a.Handle) })
	}
	transports.Go(func() error { // also where there are no transports
		<-running.Done()
		return nil
	})
	err := transports.Wait()
	a.log.Info("agent.answered") // all requests; its tasks may go on for a while
	return err
}

// resume finds what a persistent task does that was interrupted.
func (a *Agent) resume(method string) (task.Func, bool) {
	m, ok := a.methods.Lookup(method)
	if !ok || m.Resume == nil {
		return nil, false
	}
	return a.resumption(m), true
}

// repeat finds what a persistent task does that had not begun when the process ended.
func (a *Agent) repeat(method string, raw json.RawMessage) (task.Func, bool) {
	m, ok := a.methods.Lookup(method)
	if !ok || !m.Async {
		return nil, false
	}
	request, err := transport.DecodeRequest(raw)
	if err != nil {
		return nil, false
	}
	call, err := m.Bind(request.Arguments)
	if err != nil {
		return nil, false
	}
	return a.work(m, call, about(m, request)), true
}
