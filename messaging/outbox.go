package messaging

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// outboxSize bounds what an Outbox keeps for a server that stays away.
const outboxSize = 4096

// An Outbox sends messages that must not be lost while no server is reachable: that an instance ended, for example.
// They are kept in memory, in order, and sent when the connection is back. Messages that tell a state, such as
// heartbeats, do not belong here.
type Outbox struct {
	conn *nats.Conn
	log  *slog.Logger

	mu      sync.Mutex
	waiting []waiting
}

type waiting struct {
	subject string
	data    []byte
}

// NewOutbox returns an empty Outbox on conn. A nil logger discards.
func NewOutbox(conn *nats.Conn, log *slog.Logger) *Outbox {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Outbox{conn: conn, log: log}
}

// Post sends a message now if it can, else when Flush is called. It fails with a *MessageError only.
func Post[T any](o *Outbox, subject Subject[T], message T) error {
	data, err := subject.Encode(message)
	if err != nil {
		return err
	}
	o.mu.Lock()
	if len(o.waiting) == outboxSize {
		o.log.Error("nats.outbox.full", "dropped", o.waiting[0].subject)
		o.waiting = o.waiting[1:]
	}
	o.waiting = append(o.waiting, waiting{string(subject), data})
	o.mu.Unlock()
	o.Flush()
	return nil
}

// PostAnswer is Post for an answer to a request. Without a requester who waits it does nothing.
func PostAnswer[A any](o *Outbox, to Reply, answer A) error {
	if !to.Wanted() {
		return nil
	}
	return Post(o, Subject[A](to.subject), answer)
}

// Flush sends what waits. Call it when the connection is back (nats.Conn.StatusChanged) or from time to time.
func (o *Outbox) Flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.waiting) > 0 {
		next := o.waiting[0]
		err := send(o.conn, next.subject, "", next.data)
		if errors.Is(err, ErrDisconnected) {
			return
		}
		if err != nil {
			o.log.Error("nats.outbox.dropped", "subject", next.subject, "error", err)
		}
		o.waiting = o.waiting[1:]
	}
	o.waiting = nil
}

// Waiting returns how many messages have not been sent.
func (o *Outbox) Waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting)
}

// Sync flushes the Outbox and the connection, so that all published messages have reached the server when it returns
// nil. With no server it returns ErrDisconnected at once; a server that does not answer is waited for until ctx ends,
// at most 10 s.
func (o *Outbox) Sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	o.Flush()
	if !o.conn.IsConnected() {
		return ErrDisconnected
	}
	return o.conn.FlushWithContext(ctx)
}
