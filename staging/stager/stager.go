package stager

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/internal/rmtree"
	"github.com/deakit/deakit/messaging"
)

// A Stager stages apps on this machine. Its exported methods may be called from any goroutine.
type Stager struct {
	cfg    Config
	parts  Parts
	log    *slog.Logger
	outbox *messaging.Outbox

	running sync.WaitGroup               // tasks
	closing chan struct{}                // closed when Run is told to end
	lists   chan messaging.BuildpackList // of buildpacks to fetch ahead of time; the newest one

	mu    sync.Mutex
	open  bool              // tasks are admitted
	tasks map[string]*task  // that have not sent their last answer, by id
	logs  map[string]string // directory that shows the log of a task, by id; also for a while after the task
}

// New checks the configuration and builds a Stager. It starts nothing and opens nothing.
func New(cfg Config, parts Parts) (*Stager, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(cfg.validate(), parts.validate()); err != nil {
		return nil, fmt.Errorf("stager: %w", err)
	}
	var err error
	if cfg.BaseDir, err = filepath.Abs(cfg.BaseDir); err != nil { // containers and the directory server have other ideas of "here"
		return nil, fmt.Errorf("stager: BaseDir: %w", err)
	}
	if parts.Logger == nil {
		parts.Logger = slog.New(slog.DiscardHandler)
	}
	if parts.Logs == nil {
		parts.Logs = applog.Discard
	}
	log := parts.Logger.With("stager", cfg.ID)
	return &Stager{
		cfg: cfg, parts: parts, log: log, outbox: messaging.NewOutbox(parts.Conn, log),
		closing: make(chan struct{}), lists: make(chan messaging.BuildpackList, 1), tasks: map[string]*task{}, logs: map[string]string{},
	}, nil
}

// workspaces holds a directory for each task.
func (s *Stager) workspaces() string { return filepath.Join(s.cfg.BaseDir, "staging") }

// Run works until ctx ends; then it takes no more requests, stops all tasks, whose requesters are told, and returns when all
// that it started has ended. It returns nil when that went well. Containers and workspaces that an earlier process left are
// removed first, as far as that is possible. Call it once.
func (s *Stager) Run(ctx context.Context) error {
	removeLeftContainers(ctx, s.parts.Backend, s.cfg.Owner, s.log) // which may still write to their workspaces
	if err := s.clean(); err != nil {
		return fmt.Errorf("stager: prepare base directory: %w", err)
	}
	inbox := messaging.NewInbox(s.parts.Conn, s.log)
	defer inbox.Close()
	if err := s.subscribe(inbox); err != nil {
		return fmt.Errorf("stager: %w", err)
	}
	s.mu.Lock()
	s.open = true
	s.mu.Unlock()
	caps := s.parts.Backend.Capabilities()
	if missing := caps.Unenforced(); len(missing) > 0 {
		s.log.Warn("stager.backend.capabilities", "backend", caps.Name, "not_enforced", strings.Join(missing, ", "))
	}
	var ahead sync.WaitGroup
	ahead.Go(func() { s.prefetch(ctx) })
	s.loop(ctx, inbox)
	s.shutdown(ctx, inbox)
	ahead.Wait()
	return nil
}

func (s *Stager) clean() error {
	entries, err := os.ReadDir(s.workspaces())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := rmtree.Path(filepath.Join(s.workspaces(), e.Name())); err != nil {
			s.log.Warn("stager.workspace.remove.failed", "error", err) // it takes room, and is in nobody's way
		}
	}
	return os.MkdirAll(s.workspaces(), 0o755)
}

func (s *Stager) subscribe(inbox *messaging.Inbox) error {
	begin := func(ctx context.Context, m messaging.StagingRequest, reply messaging.Reply) {
		s.begin(ctx, m, byNATS{s.outbox, reply})
	}
	errs := []error{
		messaging.Answer(inbox, messaging.StagingStart(s.cfg.ID), begin),
		messaging.Handle(inbox, messaging.StagingStop, func(_ context.Context, m messaging.StagingStopMessage) { s.stop(string(m.AppID)) }),
		messaging.Handle(inbox, messaging.DEAStop, func(_ context.Context, m messaging.StopMessage) {
			if m.WholeApp {
				s.stop(string(m.Droplet))
			}
		}),
		messaging.Handle(inbox, messaging.Buildpacks, func(_ context.Context, list messaging.BuildpackList) { s.wanted(list) }),
	}
	if !s.cfg.NoAdvertise {
		errs = append(errs, messaging.Handle(inbox, messaging.StagingLocate, func(context.Context, messaging.Signal) { s.advertise() }))
	}
	if !s.cfg.NoQueue {
		errs = append(errs, messaging.AnswerInGroup(inbox, messaging.StagingQueue, messaging.StagingQueueGroup, begin))
	}
	return errors.Join(errs...)
}

func (s *Stager) loop(ctx context.Context, inbox *messaging.Inbox) {
	connected := s.parts.Conn.StatusChanged(nats.CONNECTED)
	defer s.parts.Conn.RemoveStatusListener(connected)
	advertise := time.NewTicker(s.cfg.AdvertiseInterval)
	defer advertise.Stop()
	s.advertise()
	s.log.Info("stager.started")
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-inbox.C():
			// Tasks outlive ctx: they are stopped one by one, and answer.
			inbox.Dispatch(context.WithoutCancel(ctx), msg)
		case <-connected:
			s.outbox.Flush()
			s.advertise()
		case <-advertise.C:
			s.outbox.Flush()
			s.advertise()
		}
	}
}

// shutdown stops everything. Whoever waits for an answer gets one.
func (s *Stager) shutdown(ctx context.Context, inbox *messaging.Inbox) {
	inbox.Close()
	s.mu.Lock()
	s.open = false
	for _, t := range s.tasks {
		t.cancel(errStopped)
	}
	s.log.Info("stager.stopping", "tasks", len(s.tasks))
	s.mu.Unlock()
	close(s.closing)
	s.running.Wait()
	if err := s.outbox.Sync(context.WithoutCancel(ctx)); err != nil && s.outbox.Waiting() > 0 {
		s.log.Warn("stager.answers.unsent", "messages", s.outbox.Waiting(), "error", err)
	}
	s.log.Info("stager.stopped")
}

func (s *Stager) advertise() {
	if s.cfg.NoAdvertise {
		return
	}
	left := s.parts.Ledger.Remaining()
	disk := messaging.Int(left.DiskBytes >> 20)
	ad := messaging.StagerAdvertisement{ID: s.cfg.ID, AvailableMemory: messaging.Int(left.MemoryBytes >> 20), AvailableDisk: &disk}
	for _, stack := range s.cfg.Stacks {
		ad.Stacks = append(ad.Stacks, stack.Name)
	}
	err := messaging.StagingAdvertise.Publish(s.parts.Conn, ad)
	if err != nil && !errors.Is(err, messaging.ErrDisconnected) {
		s.log.Error("stager.advertise.failed", "error", err)
	}
}

// Stage takes a request that came by another way than NATS: its result is posted to the Cloud Controller, see
// Config.CallbackURL (dea_ng from 2016, POST /v1/stage). It does not wait; an error says that the request was not taken.
func (s *Stager) Stage(request messaging.StagingRequest) error {
	switch {
	case s.cfg.CallbackURL == "":
		return errors.New("nothing is staged here by HTTP: the URL of the Cloud Controller is not configured")
	case request.AppID == "":
		return errors.New("the request has no app_id, so its result could not be posted")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.open {
		return errClosed
	}
	s.running.Go(func() {
		s.begin(context.Background(), request, byHTTP{base: s.cfg.CallbackURL, stager: s.cfg.ID, closing: s.closing})
	})
	return nil
}

// begin admits a request and starts its task, or refuses it with the one answer.
func (s *Stager) begin(ctx context.Context, request messaging.StagingRequest, requester requester) {
	if request.TaskID == "" {
		request.TaskID = messaging.Text(randomHex())
	}
	t := newTask(s, request, requester)
	t.log.Info("staging.task.requested")
	s.parts.Logs.Emit(t.line(applog.DEA, applog.StagingRequest(t.app)))
	ctx, t.cancel = context.WithCancelCause(ctx)
	if err := s.admit(t); err != nil {
		t.cancel(nil)
		t.log.Warn("staging.task.refused", "error", err)
		refusal := messaging.StagingRefusal{TaskID: t.id, AppID: t.app, Error: refusalText(err)}
		t.told(requester.refused(context.WithoutCancel(ctx), refusal))
		return
	}
	s.changed()
	s.running.Go(func() { t.run(ctx) })
}

// changed tells that tasks have come or gone.
func (s *Stager) changed() {
	if s.parts.Changed != nil {
		s.parts.Changed()
	}
}

var (
	errDuplicate = errors.New("Error staging: a task with this id is running")
	errClosed    = errors.New("Error staging: the stager is leaving")
)

func (s *Stager) admit(t *task) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.open:
		return errClosed
	case s.tasks[t.id] != nil:
		return errDuplicate
	}
	var err error
	if t.reservation, err = s.parts.Ledger.Reserve(t.amount()); err != nil {
		return err
	}
	s.tasks[t.id] = t
	return nil
}

func refusalText(err error) string {
	var short *resources.InsufficientError
	if errors.As(err, &short) {
		return fmt.Sprintf("Not enough %s resources available", short.Resource)
	}
	return err.Error()
}

// stop gives up all tasks of an app.
func (s *Stager) stop(app string) {
	if app == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if t.app == app {
			t.cancel(errStopped)
		}
	}
}

// unregister ends the time in which a task can be stopped.
func (s *Stager) unregister(t *task) {
	s.mu.Lock()
	delete(s.tasks, t.id)
	s.mu.Unlock()
	s.changed()
}

// StagingTask is one half of [directory.Lookup]: it shows the log of a task, under the path that the log has in the
// staging container, from before the first answer until LogLinger after the last one. Nothing else of the container is
// shown. For other tasks the error is directory.ErrUnknown.
func (s *Stager) StagingTask(_ context.Context, id string) (directory.Tree, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir, ok := s.logs[id]
	if !ok {
		return directory.Tree{}, directory.ErrUnknown
	}
	return directory.Tree{Dir: dir, ContainerRoot: dir, AsOwner: true}, nil
}

func (s *Stager) showLog(id, dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs[id] = dir
}

// hideLog takes back showLog, unless a later task of the same id has shown its own.
func (s *Stager) hideLog(id, dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.logs[id] == dir {
		delete(s.logs, id)
	}
}

func randomHex() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
