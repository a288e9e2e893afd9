package heartbeat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

const (
	maxAgentBeat  = 8 << 10         // bytes of a heartbeat or shutdown event, which have some hundred
	maxAgentAlert = 64 << 10        // bytes of an alert
	serverTime    = 5 * time.Second // for the NATS server to show that it is there
)

// AgentReceiverConfig says how an AgentReceiver listens.
type AgentReceiverConfig struct {
	// Monitor takes what is heard. Default one with the times of the BOSH health monitor. The caller may ask it and tell it too.
	Monitor *AgentMonitor

	// Agent is the id of the only agent to listen to. Empty means all.
	Agent string

	// Observe is told of everything, by the goroutine of Run, one after another: each heartbeat, each alert that is not a
	// repetition, each agent that leaves, is lost or rogue, once. While it takes its time some 16,000 messages wait, then further
	// ones are dropped. Required.
	Observe func(AgentEvent)

	// Interval is how often losses and rogue agents are looked for, and so how late they are told at most. Default 1 s.
	Interval time.Duration

	Logger *slog.Logger // nil discards
}

// An AgentReceiver hears over NATS what the agents of BOSH machines tell the health monitor: it subscribes to
// hm.agent.heartbeat.*, hm.agent.alert.* and hm.agent.shutdown.*, which the NATS server must permit it. What cannot be read, or is
// longer than 8 KiB (alerts: 64 KiB), is logged and dropped.
//
// A loss is never a mistake of the link: before one is told, the server has to answer, and all that it sent until then is taken
// into account. What agents said while the link was down is nobody's fault; they have the Timeout once more (see
// [AgentMonitor.Deaf]).
type AgentReceiver struct {
	cfg     AgentReceiverConfig
	conn    *nats.Conn
	log     *slog.Logger
	monitor *AgentMonitor

	told       map[told]bool // findings that go on
	checked    time.Time     // until when all findings have been told
	deaf       bool          // the server was away at the last attempt
	reconnects uint64        // of the connection, when it was last looked at
	crowded    bool          // the last agent was refused because there are too many
}

// told is a finding that Observe knows.
type told struct {
	id   string
	lost bool // or else rogue
}

// NewAgentReceiver checks the configuration. It starts nothing; the connection stays the caller's.
func NewAgentReceiver(conn *nats.Conn, cfg AgentReceiverConfig) (*AgentReceiver, error) {
	if cfg.Observe == nil {
		return nil, errors.New("heartbeat: AgentReceiverConfig.Observe is missing: it is told what comes")
	}
	if cfg.Agent != "" && !messaging.IsToken(cfg.Agent) {
		return nil, errors.New("heartbeat: AgentReceiverConfig.Agent must not contain '.', '*', '>' or blanks: it becomes part of subjects")
	}
	if cfg.Monitor == nil {
		cfg.Monitor = NewAgentMonitor(AgentMonitorConfig{})
	}
	if cfg.Interval <= 0 {
		cfg.Interval = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &AgentReceiver{cfg: cfg, conn: conn, log: cfg.Logger, monitor: cfg.Monitor}, nil
}

// Run listens until ctx ends; then it returns nil. It fails when it cannot subscribe, and when the connection is closed for good.
// It is called once.
func (r *AgentReceiver) Run(ctx context.Context) error {
	in := messaging.NewInbox(r.conn, r.log)
	defer in.Close()
	closed := r.conn.StatusChanged(nats.CLOSED)
	defer r.conn.RemoveStatusListener(closed)
	if err := r.subscribe(in); err != nil {
		return fmt.Errorf("health of agents: %w", err)
	}
	r.reconnects = r.conn.Stats().Reconnects
	r.deaf = !r.conn.IsConnected()
	r.monitor.Deaf(time.Time{}, time.Now()) // nobody has listened yet
	tick := time.NewTicker(r.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-closed:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("health of agents: %w", nats.ErrConnectionClosed)
		case msg := <-in.C():
			in.Dispatch(ctx, msg)
		case <-tick.C:
			r.check(ctx, in)
		}
	}
}

func (r *AgentReceiver) subscribe(in *messaging.Inbox) error {
	id := cmp.Or(r.cfg.Agent, "*")
	return errors.Join(
		hear(r, in, messaging.HMAgentHeartbeat(id), maxAgentBeat, func(id string, beat messaging.AgentHeartbeat) error {
			event, err := r.monitor.Heartbeat(id, beat, time.Now())
			if err != nil {
				return err
			}
			if lost := (told{id, true}); r.told[lost] {
				delete(r.told, lost)
			} else if event.Before.Life == Lost {
				event.Before.Life = event.Life // it is the heartbeat that was late, maybe here
			}
			r.cfg.Observe(event)
			return nil
		}),
		hear(r, in, messaging.HMAgentAlert(id), maxAgentAlert, func(id string, alert messaging.AgentAlert) error {
			event, first, err := r.monitor.Alert(id, alert, time.Now())
			if err == nil && first {
				r.cfg.Observe(event)
			}
			return err
		}),
		hear(r, in, messaging.HMAgentShutdown(id), maxAgentBeat, func(id string, _ messaging.AgentShutdown) error {
			if event, first := r.monitor.Shutdown(id, time.Now()); first {
				r.cfg.Observe(event)
			}
			return nil
		}),
	)
}

// hear subscribes to one kind of message of agents.
func hear[T any](
	r *AgentReceiver, in *messaging.Inbox, subject messaging.Subject[T], limit int, take func(id string, message T) error,
) error {
	return in.HandleRaw(string(subject), func(_ context.Context, msg *nats.Msg) {
		if len(msg.Data) > limit {
			r.refuse(msg, fmt.Errorf("more than the %d bytes that it may have", limit))
			return
		}
		message, err := subject.Decode(msg.Data)
		if err == nil {
			err = take(msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:], message)
		}
		if err != nil {
			r.refuse(msg, err)
		}
	})
}

// refuse logs what is dropped; that there are too many agents once, until there is one of another kind.
func (r *AgentReceiver) refuse(msg *nats.Msg, err error) {
	crowded := errors.Is(err, ErrTooManyAgents)
	if !crowded || !r.crowded {
		r.log.Warn("heartbeat.refused", "subject", msg.Subject, "bytes", len(msg.Data), "error", err)
	}
	r.crowded = crowded
}

// check tells of findings that are new. If there are any, the server is asked first whether anybody was heard meanwhile.
func (r *AgentReceiver) check(ctx context.Context, in *messaging.Inbox) {
	now := time.Now()
	r.deaf = r.deaf || !r.conn.IsConnected() || r.conn.Stats().Reconnects != r.reconnects
	found, news := r.look(now)
	if r.deaf || len(news) > 0 {
		if !r.hears(ctx) {
			return
		}
		for range len(in.C()) { // what came before the server's answer
			in.Dispatch(ctx, <-in.C())
		}
		now = time.Now()
		found, news = r.look(now)
	}
	r.told, r.checked = found, now
	for _, finding := range news {
		r.cfg.Observe(finding)
	}
}

// look returns all findings, and those of them that have not been told.
func (r *AgentReceiver) look(now time.Time) (all map[told]bool, news []AgentFinding) {
	all = map[told]bool{}
	for _, finding := range r.monitor.Check(now) {
		_, lost := finding.(AgentLost)
		key := told{finding.Status().ID, lost}
		all[key] = true
		if !r.told[key] {
			news = append(news, finding)
		}
	}
	return all, news
}

// hears tells whether the server is there, and excuses all agents when it is not, or was not.
func (r *AgentReceiver) hears(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, serverTime)
	defer cancel()
	there := r.conn.IsConnected() && r.conn.FlushWithContext(ctx) == nil
	if n := r.conn.Stats().Reconnects; !there || r.deaf || n != r.reconnects {
		r.monitor.Deaf(r.checked, time.Now())
		r.deaf, r.reconnects = !there, n
	}
	return there
}
