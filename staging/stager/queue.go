package stager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

// A Queue is the stager of the time before there were buildpacks (vcap_stager): it takes requests from queues on NATS, has a
// framework plugin make a droplet of the zip file that a request names, posts that, and answers with the log. Its exported
// methods may be called from any goroutine.
//
// The original is silent on requests that it does not understand and on faults of its own. A Queue answers each request once,
// unless there is nobody to answer to, and only after its workspace and its container are gone.
type Queue struct {
	cfg    QueueConfig
	parts  QueueParts
	log    *slog.Logger
	outbox *messaging.Outbox

	waiting chan *queued
	active  atomic.Int64

	tasks context.Context // of all tasks; Abort ends it
	abort context.CancelCauseFunc
}

// NewQueue checks the configuration and builds a Queue. It starts nothing. Where the back end is too weak for
// QueueConfig.Secure, it fails with ErrNotSecure.
func NewQueue(cfg QueueConfig, parts QueueParts) (*Queue, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(cfg.validate(), parts.validate(cfg.Secure)); err != nil {
		return nil, fmt.Errorf("stager: %w", err)
	}
	if err := cfg.absolute(); err != nil {
		return nil, fmt.Errorf("stager: %w", err)
	}
	if parts.Logger == nil {
		parts.Logger = slog.New(slog.DiscardHandler)
	}
	q := &Queue{
		cfg: cfg, parts: parts, log: parts.Logger, outbox: messaging.NewOutbox(parts.Conn, parts.Logger),
		waiting: make(chan *queued, cfg.MaxWaiting),
	}
	q.tasks, q.abort = context.WithCancelCause(context.Background())
	return q, nil
}

// Run waits for a connection to NATS, and works until ctx ends. Then it takes no more requests, finishes and answers those that it has, however long that takes
// (see Abort), and returns when all that it started has ended. It returns nil when that went well. Containers and
// workspaces that an earlier process left are removed first. Call it once.
func (q *Queue) Run(ctx context.Context) error {
	defer q.abort(nil)
	removeLeftContainers(ctx, q.parts.Backend, q.cfg.Owner, q.log)
	if err := removeLeftWorkspaces(q.cfg.BaseDir, q.log); err != nil {
		return fmt.Errorf("stager: prepare base directory: %w", err)
	}
	if !q.awaitServer(ctx) {
		return nil // nobody has asked for anything
	}
	inbox := messaging.NewInbox(q.parts.Conn, q.log)
	defer inbox.Close()
	if err := q.subscribe(inbox); err != nil {
		return fmt.Errorf("stager: %w", err)
	}
	var workers sync.WaitGroup
	for range q.cfg.MaxActive {
		workers.Go(q.work)
	}
	caps := q.parts.Backend.Capabilities()
	if missing := caps.Unenforced(); len(missing) > 0 {
		q.log.Warn("stager.backend.capabilities", "backend", caps.Name, "not_enforced", strings.Join(missing, ", "))
	}
	q.settle(ctx)
	q.log.Info("Server running") // and requests reach it
	q.loop(ctx, inbox)
	q.shutdown(context.WithoutCancel(ctx), inbox, &workers)
	return nil
}

// Abort gives up all tasks, those that wait included. They are answered, and Run, if its context has ended, returns soon.
func (q *Queue) Abort() { q.abort(errAborted) }

// errAborted is what those are told whose tasks Abort gives up.
var errAborted = errors.New("The stager was stopped before the task had ended") //nolint:staticcheck // a text for people

// Waiting and Active tell how many requests wait for their turn and how many tasks are at work.
func (q *Queue) Waiting() int { return len(q.waiting) }

// Active is described with Waiting.
func (q *Queue) Active() int { return int(q.active.Load()) }

func (q *Queue) subscribe(inbox *messaging.Inbox) error {
	for _, name := range q.cfg.Queues {
		take := func(_ context.Context, request messaging.QueuedStaging, err error, reply messaging.Reply) {
			q.take(request, err, toReply{q.outbox, reply})
		}
		if err := messaging.AnswerEach(inbox, messaging.StagerQueue(name), name, take); err != nil {
			return err
		}
		q.log.Info("Subscribed to " + name)
		if !q.cfg.Old {
			continue
		}
		old := messaging.OldStagerQueue(name)
		takeOld := func(_ context.Context, request messaging.QueuedStaging, err error, _ messaging.Reply) {
			q.take(request, err, toSubject{q.outbox, request.Notify})
		}
		query := messaging.Query[messaging.QueuedStaging, messaging.QueuedStagingAnswer](old)
		if err := messaging.AnswerEach(inbox, query, string(old), takeOld); err != nil {
			return err
		}
		q.log.Info("Subscribed to " + string(old))
	}
	return nil
}

// awaitServer waits for a connection, so that nobody reads that this stager runs while there is none. It tells whether there
// is one, or ctx has ended before.
func (q *Queue) awaitServer(ctx context.Context) bool {
	connected := q.parts.Conn.StatusChanged(nats.CONNECTED)
	defer q.parts.Conn.RemoveStatusListener(connected)
	if q.parts.Conn.IsConnected() {
		return true
	}
	q.log.Warn("Waiting for the NATS server")
	select {
	case <-connected:
		return true
	case <-ctx.Done():
		return false
	}
}

// settle waits until the server knows of the subscriptions: whoever reads that this stager runs may ask at once. Where the
// connection is lost meanwhile, they are sent when there is one again.
func (q *Queue) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushPause)
	defer cancel()
	if err := q.parts.Conn.FlushWithContext(ctx); err != nil {
		q.log.Warn("stager.subscriptions.unsettled", "error", err)
	}
}

// flushPause is how often answers are tried again that no server took, besides when the connection is back.
const flushPause = 5 * time.Second

func (q *Queue) loop(ctx context.Context, inbox *messaging.Inbox) {
	connected := q.parts.Conn.StatusChanged(nats.CONNECTED)
	defer q.parts.Conn.RemoveStatusListener(connected)
	flush := time.NewTicker(flushPause)
	defer flush.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-inbox.C():
			inbox.Dispatch(ctx, msg)
		case <-connected:
			q.outbox.Flush()
		case <-flush.C:
			q.outbox.Flush()
		}
	}
}

// shutdown takes what has been sent to this stager and to no other, and waits for all tasks.
func (q *Queue) shutdown(ctx context.Context, inbox *messaging.Inbox, workers *sync.WaitGroup) {
	q.log.Info("Shutdown initiated.")
	if err := inbox.Drain(ctx); err != nil {
		q.log.Warn("stager.drain.failed", "error", err)
	}
	for drained := false; !drained; {
		select {
		case msg := <-inbox.C():
			inbox.Dispatch(ctx, msg)
		default:
			drained = true
		}
	}
	q.log.Info(fmt.Sprintf("Waiting for remaining %d task(s) to finish.", q.Waiting()+q.Active()))
	close(q.waiting)
	workers.Wait()
	if err := q.outbox.Sync(ctx); err != nil && q.outbox.Waiting() > 0 {
		q.log.Warn("stager.answers.unsent", "messages", q.outbox.Waiting(), "error", err)
	}
	q.log.Info("Shutdown complete")
}

// take has a request wait for its turn, or refuses it.
func (q *Queue) take(request messaging.QueuedStaging, err error, asker asker) {
	t := newQueued(q, request, asker)
	if err == nil {
		err = t.read()
	}
	if err != nil {
		t.finish(&failure{class: messaging.TaskFailed, details: err.Error(), cause: err})
		return
	}
	select {
	case q.waiting <- t:
		t.log.Info("stager.task.queued", "download", t.redactedDownload(), "framework", t.properties.Framework)
	default:
		err := fmt.Errorf("%d requests wait here already; try again later", q.cfg.MaxWaiting)
		t.finish(&failure{class: messaging.TaskFailed, details: err.Error(), cause: err})
	}
}

// work does one task after the other.
func (q *Queue) work() {
	for t := range q.waiting {
		q.active.Add(1)
		t.run(q.tasks)
		q.active.Add(-1)
	}
}
