package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/agent/transport/seal"
	"github.com/deakit/deakit/internal/uuid"
	"github.com/deakit/deakit/messaging"
)

// A NATSConfig tells how to reach an agent over NATS.
type NATSConfig struct {
	Conn    *nats.Conn // stays the caller's
	AgentID string

	// DirectorID is a part of the subject of replies, director.<DirectorID>.<AgentID>.<request>; a server may allow only
	// some. Empty: a new UUID.
	DirectorID string

	Timeout time.Duration // for one reply; default 45 s
	Keys    *seal.Keys    // when set, requests and replies are encrypted
}

// NATS sends requests as a director does. Close ends the subscription for replies.
type NATS struct {
	cfg     NATSConfig
	codec   *codec
	replies string // subject of replies without its last part
	sub     *nats.Subscription
	sending sync.Mutex // makes sealing and publishing one step: an agent takes rising numbers only

	mu      sync.Mutex
	waiting map[string]chan<- answer // by the last part of the subject
}

type answer struct {
	reply messaging.AgentReply
	err   error
}

// NewNATS subscribes to replies.
func NewNATS(cfg NATSConfig) (*NATS, error) {
	if cfg.Conn == nil || !messaging.IsToken(cfg.AgentID) {
		return nil, errors.New("agent client: a connection and an agent id without '.', '*', '>' and blanks are required")
	}
	if cfg.DirectorID == "" {
		cfg.DirectorID = uuid.New()
	}
	if !messaging.IsToken(cfg.DirectorID) {
		return nil, errors.New("agent client: the director's id must be without '.', '*', '>' and blanks")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 45 * time.Second
	}
	codec, err := newCodec(cfg.Keys, cfg.AgentID)
	if err != nil {
		return nil, err
	}
	n := &NATS{
		cfg: cfg, codec: codec, waiting: map[string]chan<- answer{},
		replies: "director." + cfg.DirectorID + "." + cfg.AgentID + ".",
	}
	if n.sub, err = cfg.Conn.Subscribe(n.replies+"*", n.hear); err != nil {
		return nil, fmt.Errorf("agent client: %w", err)
	}
	return n, nil
}

// Close ends the subscription; requests that wait time out.
func (n *NATS) Close() { _ = n.sub.Unsubscribe() } // fails only on a closed connection

// Do implements Transport. It fails with ErrNobody when no agent takes requests by this id, with ErrNoReply when it does not answer in
// time, or with messaging.ErrDisconnected when there is no server.
func (n *NATS) Do(ctx context.Context, request messaging.AgentRequest) (messaging.AgentReply, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, n.cfg.Timeout, ErrNoReply)
	defer cancel()
	id, answers := uuid.New(), make(chan answer, 1)
	request.ReplyTo = n.replies + id
	n.mu.Lock()
	n.waiting[id] = answers
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.waiting, id)
		n.mu.Unlock()
	}()
	if err := n.send(request); err != nil {
		return messaging.AgentReply{}, err
	}
	select {
	case a := <-answers:
		return a.reply, a.err
	case <-ctx.Done():
		return messaging.AgentReply{}, context.Cause(ctx)
	}
}

func (n *NATS) send(request messaging.AgentRequest) error {
	n.sending.Lock()
	defer n.sending.Unlock()
	data, err := n.codec.encode(request)
	if err != nil {
		return err
	}
	return messaging.RequestRaw(n.cfg.Conn, "agent."+n.cfg.AgentID, request.ReplyTo, data)
}

// hear takes replies, in the order in which they come. Only the first to a request counts.
func (n *NATS) hear(msg *nats.Msg) {
	id := msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:]
	n.mu.Lock()
	waiting, ok := n.waiting[id]
	delete(n.waiting, id)
	n.mu.Unlock()
	if !ok {
		return
	}
	if messaging.NobodyListens(msg) {
		waiting <- answer{err: fmt.Errorf("nobody takes requests as %s: %w", n.cfg.AgentID, ErrNobody)}
		return
	}
	reply, err := n.codec.decode(msg.Data)
	waiting <- answer{reply, err}
}
