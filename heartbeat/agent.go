package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

// AgentConfig says how a BOSH agent tells that it lives.
type AgentConfig struct {
	ID string // of the agent, a part of subjects; required

	// Collect returns the heartbeat of this moment. It is given a context that ends after CollectTime, default 5 s, and must then
	// return what it has. Required.
	Collect     func(context.Context) messaging.AgentHeartbeat
	CollectTime time.Duration

	// Interval is the time between heartbeats; default 30 s. Retry is the pause after one that could not be sent, to which up to
	// as much is added at random; default 1 s.
	Interval, Retry time.Duration

	// AlertTimes is how often each alert is sent, a second apart; default 1. The Ruby agent sent each three times, for health
	// monitors that were just starting.
	AlertTimes int

	Logger *slog.Logger // nil discards
}

// Agent is the side of a BOSH agent: it sends its heartbeats, its alerts and its shutdown event. It never gives up: without a server it
// waits, and a heartbeat goes out as soon as there is one. After a loss of the connection that is within a second at random, so that not
// all agents speak at once.
type Agent struct {
	cfg    AgentConfig
	conn   *nats.Conn
	log    *slog.Logger
	outbox *messaging.Outbox
	wake   chan struct{} // has an element when there are repetitions to plan

	mu      sync.Mutex
	repeats []repeat
}

// A repeat is an alert that is to be sent again.
type repeat struct {
	due   time.Time
	alert messaging.AgentAlert
	left  int
}

// NewAgent checks the configuration. It starts nothing; the connection stays the caller's.
func NewAgent(conn *nats.Conn, cfg AgentConfig) (*Agent, error) {
	if !messaging.IsToken(cfg.ID) {
		return nil, errors.New("heartbeat: AgentConfig.ID must not be empty or contain '.', '*', '>' or blanks: it becomes part of subjects")
	}
	if cfg.Collect == nil {
		return nil, errors.New("heartbeat: AgentConfig.Collect is missing: it says what is sent")
	}
	fill := func(field *time.Duration, value time.Duration) {
		if *field <= 0 {
			*field = value
		}
	}
	fill(&cfg.CollectTime, 5*time.Second)
	fill(&cfg.Interval, 30*time.Second)
	fill(&cfg.Retry, time.Second)
	cfg.AlertTimes = max(cfg.AlertTimes, 1)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Agent{
		cfg: cfg, conn: conn, log: cfg.Logger, outbox: messaging.NewOutbox(conn, cfg.Logger), wake: make(chan struct{}, 1),
	}, nil
}

// Run sends a heartbeat at once and then at the interval, and alerts that wait for a server, until ctx ends; then it returns nil. No
// failure ends it: a heartbeat that cannot be sent is logged, and made anew a little later.
func (a *Agent) Run(ctx context.Context) error {
	status := a.conn.StatusChanged(nats.CONNECTED)
	defer a.conn.RemoveStatusListener(status)
	failing := false
	next := time.NewTimer(0)
	defer next.Stop()
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		again.Reset(a.repeatDue())
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		case <-a.wake:
		case _, open := <-status:
			if !open { // the connection is closed for good: nothing will be sent any more, until the caller ends
				status = nil
				continue
			}
			a.outbox.Flush()
			if failing {
				next.Reset(rand.N(time.Second))
			}
		case <-next.C:
			err := a.beat(ctx)
			if ctx.Err() != nil {
				return nil
			}
			switch {
			case err != nil && !failing:
				a.log.Warn("agent.heartbeat.failed", "error", err)
			case err == nil && failing:
				a.log.Info("agent.heartbeat.resumed")
			}
			failing = err != nil
			wait := a.cfg.Interval
			if failing {
				wait = a.cfg.Retry + rand.N(a.cfg.Retry)
			}
			next.Reset(wait)
		}
	}
}

func (a *Agent) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.CollectTime)
	defer cancel()
	return messaging.HMAgentHeartbeat(a.cfg.ID).Publish(a.conn, a.cfg.Collect(ctx))
}

// Alert sends an alert now if it can, else when a server is there again and Run runs. It never waits. It fails with a
// *messaging.MessageError only, for an alert without id or title or with a negative severity.
func (a *Agent) Alert(alert messaging.AgentAlert) error {
	if err := messaging.Post(a.outbox, messaging.HMAgentAlert(a.cfg.ID), alert); err != nil {
		return err
	}
	a.plan(alert, a.cfg.AlertTimes-1)
	return nil
}

// maxRepeats bounds the alerts that wait to be sent again.
const maxRepeats = 1000

// plan has an alert sent again in a second.
func (a *Agent) plan(alert messaging.AgentAlert, left int) {
	if left <= 0 {
		return
	}
	a.mu.Lock()
	if len(a.repeats) < maxRepeats { // it has been sent once at least
		a.repeats = append(a.repeats, repeat{time.Now().Add(time.Second), alert, left})
	}
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default: // Run has been told already
	}
}

// repeatDue sends again what is due, and returns how long until the next one is.
func (a *Agent) repeatDue() time.Duration {
	now := time.Now()
	var due []repeat
	a.mu.Lock()
	for len(a.repeats) > 0 && !a.repeats[0].due.After(now) {
		due = append(due, a.repeats[0])
		a.repeats = a.repeats[1:]
	}
	a.mu.Unlock()
	for _, r := range due {
		if err := messaging.Post(a.outbox, messaging.HMAgentAlert(a.cfg.ID), r.alert); err != nil {
			a.log.Error("agent.alert.failed", "id", r.alert.ID, "error", err)
		}
		a.plan(r.alert, r.left-1)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.repeats) == 0 {
		return time.Hour
	}
	return time.Until(a.repeats[0].due)
}

// Shutdown tells that the agent goes on purpose, and returns when the server has it; after 5 s, or at the end of ctx, it fails.
func (a *Agent) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := messaging.HMAgentShutdown(a.cfg.ID).Publish(a.conn, messaging.AgentShutdown{}); err != nil {
		return fmt.Errorf("shutdown event: %w", err)
	}
	if err := a.conn.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("shutdown event: %w", err)
	}
	return nil
}
