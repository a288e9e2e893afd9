package messaging

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"
)

// A Subject names a NATS subject and the type of the messages on it. Its value is the name itself; subjects that
// address one component contain its id and come from functions such as [DEAStart].
type Subject[T any] string

// Encode checks the message and returns its JSON. It fails with a *MessageError.
func (s Subject[T]) Encode(message T) ([]byte, error) { return encode(string(s), message) }

// Decode reads a message from JSON and checks it. It fails with a *MessageError.
func (s Subject[T]) Decode(data []byte) (T, error) { return decode[T](string(s), data) }

// Publish sends a message. It fails with a *MessageError before anything is sent, or with ErrDisconnected when there
// is no server to send to: nothing is kept to be sent later, because most messages tell a state that will have
// changed by then. See [Outbox] for those that do not.
func (s Subject[T]) Publish(conn *nats.Conn, message T) error {
	data, err := s.Encode(message)
	if err != nil {
		return err
	}
	return send(conn, string(s), "", data)
}

// A Query is a subject whose messages are answered: requests of type Q, answers of type A.
type Query[Q, A any] string

// Subject returns the request's side of the query.
func (q Query[Q, A]) Subject() Subject[Q] { return Subject[Q](q) }

// Encode checks a request and returns its JSON.
func (q Query[Q, A]) Encode(request Q) ([]byte, error) { return q.Subject().Encode(request) }

// Decode reads a request from JSON and checks it.
func (q Query[Q, A]) Decode(data []byte) (Q, error) { return q.Subject().Decode(data) }

// DecodeAnswer reads an answer from JSON and checks it.
func (q Query[Q, A]) DecodeAnswer(data []byte) (A, error) {
	return decode[A]("answer to "+string(q), data)
}

// Ask sends a request and returns the first answer. It waits until ctx ends.
func (q Query[Q, A]) Ask(ctx context.Context, conn *nats.Conn, request Q) (A, error) {
	for answer, err := range q.AskAll(ctx, conn, request) {
		return answer, err
	}
	var none A
	return none, fmt.Errorf("no answer to %s: %w", q, context.Cause(ctx))
}

// AskAll sends a request and yields each answer as it comes, until ctx ends or the loop is left. An answer that
// cannot be read is yielded as an error, and the loop may go on. The end of ctx is not an error: on these subjects
// silence means that nobody has anything to say.
func (q Query[Q, A]) AskAll(ctx context.Context, conn *nats.Conn, request Q) func(yield func(A, error) bool) {
	return func(yield func(A, error) bool) {
		var none A
		data, err := q.Encode(request)
		if err != nil {
			yield(none, err)
			return
		}
		inbox := nats.NewInbox()
		sub, err := conn.SubscribeSync(inbox)
		if err != nil {
			yield(none, fmt.Errorf("ask %s: %w", q, err))
			return
		}
		defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
		if err := send(conn, string(q), inbox, data); err != nil {
			yield(none, err)
			return
		}
		for {
			msg, err := sub.NextMsgWithContext(ctx)
			if err != nil {
				if ctx.Err() == nil {
					yield(none, fmt.Errorf("ask %s: %w", q, err))
				}
				return
			}
			if msg.Header.Get("Status") == "503" { // the server says that nobody listens
				return
			}
			if !yield(q.DecodeAnswer(msg.Data)) {
				return
			}
		}
	}
}

// ErrDisconnected: no server is reachable at the moment, and the message was not sent.
var ErrDisconnected = errors.New("not connected to a NATS server")

// PublishRaw sends bytes as they are. It fails as [Subject.Publish] does, but checks nothing.
func PublishRaw(conn *nats.Conn, subject string, data []byte) error {
	return send(conn, subject, "", data)
}

// RequestRaw is PublishRaw that names the subject of replies, where the server tells when nobody listens: see [NobodyListens].
func RequestRaw(conn *nats.Conn, subject, reply string, data []byte) error {
	return send(conn, subject, reply, data)
}

// NobodyListens tells whether a message is the server's word, in place of a reply, that nobody listens to what was asked.
func NobodyListens(msg *nats.Msg) bool {
	const noResponders = "503" // of the protocol of NATS
	return len(msg.Data) == 0 && msg.Header.Get("Status") == noResponders
}

func send(conn *nats.Conn, subject, reply string, data []byte) error {
	err := conn.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: data})
	var link *net.OpError // the message was cut off, or not sent at all
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionDraining), errors.As(err, &link):
		return fmt.Errorf("publish %s: %w", subject, ErrDisconnected)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("publish %s: %d bytes are more than the server's max_payload of %d: %w",
			subject, len(data), conn.MaxPayload(), err)
	default:
		return fmt.Errorf("publish %s: %w", subject, err)
	}
}

// Seconds since the epoch with a fraction, as state_timestamp carries it.
type Seconds float64

// SecondsOf converts a time; the zero time becomes 0.
func SecondsOf(t time.Time) Seconds {
	if t.IsZero() {
		return 0
	}
	return Seconds(float64(t.UnixMicro()) / 1e6)
}

// Time converts back, to the microsecond.
func (s Seconds) Time() time.Time { return time.UnixMicro(int64(float64(s) * 1e6)) }
