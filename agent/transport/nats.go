package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/agent/transport/seal"
	"github.com/deakit/deakit/messaging"
)

// A NATSConfig tells how to hear requests on NATS.
type NATSConfig struct {
	Conn    *nats.Conn // see [Connect]; its owner drains it when Run has returned
	AgentID string     // requests come to agent.<id>

	MaxReply int        // bytes of the longest reply; default [MaxReply], and never more than the server takes
	Keys     *seal.Keys // when set, all requests must be encrypted, and replies are
	Overflow Overflow   // when set, longer replies go there, as old agents have it

	// MaxInFlight is how many bytes all requests that are under way may have; default 256 MiB. Those beyond are answered with ErrBusy.
	MaxInFlight int64

	// ReplyFor is how long a reply waits for a server that is away; default 45 s, after which directors do not wait any more.
	ReplyFor time.Duration

	Logger *slog.Logger // nil discards
}

// NATS hears requests on a subject and publishes replies to the subjects that they name.
type NATS struct {
	cfg   NATSConfig
	codec *codec
	log   *slog.Logger
	room  *budget

	// sending makes sealing and publishing one step: a director takes rising numbers only.
	sending sync.Mutex
}

// NewNATS checks the configuration. It starts nothing.
func NewNATS(cfg NATSConfig) (*NATS, error) {
	if cfg.Conn == nil {
		return nil, errors.New("agent on NATS: a connection is required")
	}
	if !messaging.IsToken(cfg.AgentID) {
		return nil, errors.New("agent on NATS: the agent's id must not be empty or contain '.', '*', '>' or blanks: it becomes part of a subject")
	}
	if cfg.MaxReply <= 0 {
		cfg.MaxReply = MaxReply
	}
	if cfg.ReplyFor <= 0 {
		cfg.ReplyFor = 45 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	codec, err := newCodec(cfg.AgentID, cfg.Keys, cfg.Overflow, cfg.Logger)
	if err != nil {
		return nil, fmt.Errorf("agent on NATS: %w", err)
	}
	return &NATS{cfg: cfg, codec: codec, log: cfg.Logger, room: newBudget(cfg.MaxInFlight)}, nil
}

// maxBurst is how many requests wait to be read, and maxBurstBytes how many bytes of them; the library drops those beyond. Reading is
// quick: it waits for no handler.
const (
	maxBurst      = 16 << 10
	maxBurstBytes = 64 << 20
)

// Run takes requests until ctx ends; those under way then have five seconds to end and be answered. It returns when all have
// ended: nil, or why there is no subscription.
func (n *NATS) Run(ctx context.Context, handler Handler) error {
	sub, err := n.cfg.Conn.SubscribeSync("agent." + n.cfg.AgentID)
	if err == nil {
		err = sub.SetPendingLimits(maxBurst, maxBurstBytes)
	}
	if err != nil {
		return fmt.Errorf("agent on NATS: subscribe: %w", err)
	}
	life, cut := outlast(ctx)
	defer cut()
	var underWay sync.WaitGroup
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err == nil {
			n.take(life, &underWay, handler, msg)
			continue
		}
		if errors.Is(err, nats.ErrSlowConsumer) {
			dropped, _ := sub.Dropped() // fails when the connection is closed, as what comes next does
			n.log.Error("agent.requests.dropped", "so_far", dropped)
			continue
		}
		if ctx.Err() == nil { // somebody has closed the connection
			n.log.Error("agent.requests.end", "error", err)
			<-ctx.Done()
		}
		break
	}
	for waiting, _, err := sub.Pending(); err == nil && waiting > 0; waiting, _, err = sub.Pending() {
		if msg, err := sub.NextMsgWithContext(life); err == nil {
			n.take(life, &underWay, handler, msg)
		} else if !errors.Is(err, nats.ErrSlowConsumer) {
			break
		}
	}
	_ = sub.Unsubscribe() // fails only on a closed connection
	underWay.Wait()
	return nil
}

// take reads a request and has it served. One for which there is no room is answered, but nothing of it is kept meanwhile.
func (n *NATS) take(life context.Context, underWay *sync.WaitGroup, handler Handler, msg *nats.Msg) {
	request, session, err := n.codec.open(msg.Data)
	if err != nil {
		n.log.Error("agent.request.unreadable", "bytes", len(msg.Data), "error", err)
		return
	}
	held := &share{of: n.room}
	if !held.grow(int64(len(msg.Data))) {
		n.log.Warn("agent.request.refused", "method", request.Method, "bytes", len(msg.Data), "error", ErrBusy)
		request.Arguments, request.Raw = nil, nil
		handler = func(context.Context, Request) Reply { return Reply{Err: ErrBusy} }
	}
	underWay.Go(func() {
		defer held.giveBack()
		n.serve(life, handler, request, session)
	})
}

// serve answers one request.
func (n *NATS) serve(ctx context.Context, handler Handler, request Request, session *seal.Session) {
	began := time.Now()
	reply := handler(ctx, request)
	log := n.log.With("method", request.Method, "reply_to", request.ReplyTo)
	log.Debug("agent.request", "took", time.Since(began), "failed", reply.Err != nil)
	if !messaging.IsReplySubject(request.ReplyTo) {
		log.Warn("agent.reply.unwanted", "reason", "reply_to is no subject for replies")
		return
	}
	if err := n.publish(ctx, request.ReplyTo, reply, session); err != nil {
		log.Error("agent.reply.lost", "error", err)
	}
}

// publish sends a reply. While there is no server it waits for one.
func (n *NATS) publish(ctx context.Context, subject string, reply Reply, session *seal.Session) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.ReplyFor)
	defer cancel()
	plain := n.codec.plain(ctx, reply, n.limit())
	for {
		err := n.send(subject, plain, reply, session)
		if !errors.Is(err, messaging.ErrDisconnected) || ctx.Err() != nil || n.awaitServer(ctx) != nil {
			return err
		}
	}
}

func (n *NATS) limit() int {
	if most := n.cfg.Conn.MaxPayload(); most > 0 { // 0 before the first server was met
		return min(n.cfg.MaxReply, int(most))
	}
	return n.cfg.MaxReply
}

func (n *NATS) send(subject string, plain []byte, reply Reply, session *seal.Session) error {
	n.sending.Lock()
	defer n.sending.Unlock()
	data, err := n.codec.seal(plain, reply, session, n.limit())
	if err != nil {
		return err
	}
	return messaging.PublishRaw(n.cfg.Conn, subject, data)
}

// awaitServer returns when the connection is up again, or with the reason why not.
func (n *NATS) awaitServer(ctx context.Context) error {
	up := n.cfg.Conn.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer n.cfg.Conn.RemoveStatusListener(up)
	for !n.cfg.Conn.IsConnected() {
		if n.cfg.Conn.IsClosed() || n.cfg.Conn.IsDraining() {
			return messaging.ErrDisconnected
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-up:
		}
	}
	return nil
}
