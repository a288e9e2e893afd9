package task

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/deakit/deakit/internal/uuid"
)

// Config of a Manager. Its zero value is useful.
type Config struct {
	Workers int // tasks that run at a time; default 8
	Waiting int // tasks that may wait beyond them; default 1000
	Load    int // bytes that all those may hold in all; default 256 MiB. One alone may hold any amount

	// How many outcomes are kept, for how long, and how many bytes of them in all (one outcome is kept whatever its size).
	Keep      int           // default 1000
	KeepFor   time.Duration // default 24 h
	KeepBytes int           // default 64 MiB

	// Store keeps persistent tasks; nil: none survives. Resume finds what to do for one that was interrupted, and Repeat for one
	// that had not begun, by its request. A task for which they have nothing is forgotten.
	Store  *Store
	Resume func(method string) (Func, bool)
	Repeat func(method string, request json.RawMessage) (Func, bool)

	Logger *slog.Logger // nil discards
}

func (c Config) withDefaults() Config {
	for value, usual := range map[*int]int{&c.Workers: 8, &c.Waiting: 1000, &c.Keep: 1000, &c.KeepBytes: 64 << 20, &c.Load: 256 << 20} {
		if *value <= 0 {
			*value = usual
		}
	}
	if c.KeepFor <= 0 {
		c.KeepFor = 24 * time.Hour
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// A Manager runs tasks while Run runs. Its methods may be called from any goroutine and do not wait for tasks.
type Manager struct {
	cfg Config
	log *slog.Logger

	mu       sync.Mutex // never held while files are written or a task is at work
	tasks    map[string]*record
	waiting  []*record // in the order of Start
	finished []*record // in the order of their ends; the oldest goes first
	kept     int       // bytes of finished
	load     int       // bytes of the others
	running  int
	life     context.Context // nil before Run
	ending   bool            // nothing new begins
	workers  sync.WaitGroup
}

// New returns a Manager with no tasks.
func New(cfg Config) *Manager {
	cfg = cfg.withDefaults()
	return &Manager{cfg: cfg, log: cfg.Logger, tasks: map[string]*record{}}
}

// Load takes up the tasks that an earlier process left in the Store, under their old ids. Call it before Run, and before
// anyone can ask for a task. A file that cannot be read is put aside and told in the log; an error says that the file
// system does not work.
func (m *Manager) Load() error {
	if m.cfg.Store == nil {
		return nil
	}
	left, err := m.cfg.Store.load(m.log)
	if err != nil {
		return err
	}
	for _, e := range left {
		do, ok := m.again(e)
		if !ok {
			m.log.Warn("agent.task.forgotten", "task", e.TaskID, "method", e.Method)
			if err := m.cfg.Store.remove(e.TaskID); err != nil {
				m.log.Error("agent.task.unsettled", "task", e.TaskID, "error", err) // the next start finds it once more
			}
			continue
		}
		m.log.Info("agent.task.resumed", "task", e.TaskID, "method", e.Method, "begun", !e.Waiting)
		r := &record{id: e.TaskID, stored: true, fresh: e.Waiting, spec: Spec{Method: e.Method, Do: do}, load: len(e.Payload)}
		m.mu.Lock()
		m.load += r.load
		m.tasks[r.id] = r
		m.waiting = append(m.waiting, r)
		m.mu.Unlock()
	}
	return nil
}

// again finds what to do for a task that an earlier process left.
func (m *Manager) again(e entry) (do Func, ok bool) {
	switch {
	case e.Waiting && m.cfg.Repeat != nil:
		return m.cfg.Repeat(e.Method, e.Payload)
	case !e.Waiting && m.cfg.Resume != nil:
		return m.cfg.Resume(e.Method)
	}
	return nil, false
}

// Run runs tasks until ctx ends. Then the contexts of all that run end, and Run returns when they have: nil. Tasks that were
// waiting never begin; persistent ones among all these stay in the Store, unless they have ended well. Call it once.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	m.life = ctx
	m.begin()
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	m.ending = true
	m.mu.Unlock()
	m.workers.Wait()
	return nil
}

// Start takes a task and returns its id. It fails with ErrBusy, ErrEnding, or because a persistent task could not be
// written down; then nothing is run.
func (m *Manager) Start(spec Spec) (string, error) {
	stored := m.cfg.Store != nil && spec.Persistent != nil
	r := &record{id: uuid.New(), spec: spec, stored: stored, fresh: stored, load: spec.Size}
	if err := m.admit(r.load); err != nil {
		return "", err
	}
	if r.stored {
		if err := m.cfg.Store.add(entry{TaskID: r.id, Method: spec.Method, Payload: spec.Persistent, Waiting: true}); err != nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.load -= r.load
			return "", err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tasks[r.id] = r
	m.waiting = append(m.waiting, r)
	m.begin()
	return r.id, nil
}

// admit reserves what a new task holds.
func (m *Manager) admit(load int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.ending || m.life != nil && m.life.Err() != nil:
		return ErrEnding
	case len(m.waiting) >= m.cfg.Waiting, m.load > 0 && m.load+load > m.cfg.Load:
		return ErrBusy
	}
	m.load += load
	return nil
}

// Get tells what became of a task; done is false while it waits or runs. It fails with an *UnknownError.
func (m *Manager) Get(id string) (outcome Outcome, done bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget()
	r, ok := m.tasks[id]
	if !ok {
		return Outcome{}, false, &UnknownError{id}
	}
	return r.result, r.done, nil
}

// Cancel ends the context of a task with ErrCancelled, or takes it out of those that wait; it does not wait for the end. Of a
// task that has ended it wants nothing. It fails with an *UnknownError or ErrNotSupported.
func (m *Manager) Cancel(id string) error {
	m.mu.Lock()
	r, ok := m.tasks[id]
	switch {
	case !ok:
		m.mu.Unlock()
		return &UnknownError{id}
	case r.done:
		m.mu.Unlock()
		return nil
	case !r.spec.Cancellable:
		m.mu.Unlock()
		return ErrNotSupported
	case r.cancel != nil:
		m.mu.Unlock()
		r.cancel(ErrCancelled)
		return nil
	}
	m.drop(r)
	m.end(r, Outcome{Err: ErrCancelled})
	m.mu.Unlock()
	return m.settle(r)
}
