package messaging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go"
)

// inboxSize bounds what waits in an Inbox; beyond it the connection reports a slow consumer and messages are lost.
const inboxSize = 16384

// An Inbox receives several subjects through one channel, so that messages are handled in the order in which the
// server sent them: a stop and the start that follows it never change places. Messages that cannot be read are
// logged and dropped.
//
// Handlers run one at a time on the goroutine that calls Run or Dispatch. They must not block: whoever has long work
// to do hands it to a goroutine of its own.
type Inbox struct {
	conn     *nats.Conn
	log      *slog.Logger
	messages chan *nats.Msg
	subs     map[*nats.Subscription]func(context.Context, *nats.Msg)
}

// NewInbox returns an Inbox that hears nothing yet; subscribe with [Handle] and [Answer] before Run. A nil logger
// discards. The caller calls Close.
func NewInbox(conn *nats.Conn, log *slog.Logger) *Inbox {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Inbox{
		conn:     conn,
		log:      log,
		messages: make(chan *nats.Msg, inboxSize),
		subs:     map[*nats.Subscription]func(context.Context, *nats.Msg){},
	}
}

// Handle subscribes to a subject.
func Handle[T any](in *Inbox, subject Subject[T], handler func(context.Context, T)) error {
	return in.subscribe(string(subject), "", func(ctx context.Context, msg *nats.Msg) {
		message, err := subject.Decode(msg.Data)
		if err != nil {
			in.refuse(msg, err)
			return
		}
		handler(ctx, message)
	})
}

// HandleRaw subscribes to a subject, which may have wildcards, and leaves it to the handler to read the messages: one that wants
// to know on which subject a message came, or to look at its size first.
func (in *Inbox) HandleRaw(subject string, handler func(context.Context, *nats.Msg)) error {
	return in.subscribe(subject, "", handler)
}

// Answer subscribes to a query. The handler, or whom it tells, sends any number of answers to the Reply.
func Answer[Q, A any](in *Inbox, query Query[Q, A], handler func(context.Context, Q, Reply)) error {
	return AnswerInGroup(in, query, "", handler)
}

// AnswerInGroup is Answer in a queue group: each request reaches one of the group's members.
func AnswerInGroup[Q, A any](in *Inbox, query Query[Q, A], group string, handler func(context.Context, Q, Reply)) error {
	return in.subscribe(string(query), group, func(ctx context.Context, msg *nats.Msg) {
		request, err := query.Decode(msg.Data)
		if err != nil {
			in.refuse(msg, err)
			return
		}
		handler(ctx, request, Reply{in.conn, msg.Reply})
	})
}

// AnswerEach is AnswerInGroup where also those are answered who sent what cannot be read: the handler gets the
// [*MessageError] then, and as much of the request as could be read.
func AnswerEach[Q, A any](in *Inbox, query Query[Q, A], group string, handler func(context.Context, Q, error, Reply)) error {
	return in.subscribe(string(query), group, func(ctx context.Context, msg *nats.Msg) {
		request, err := query.Decode(msg.Data)
		if err != nil {
			in.refuse(msg, err)
		}
		handler(ctx, request, err, Reply{in.conn, msg.Reply})
	})
}

// subscribe joins a queue group unless its name is empty.
func (in *Inbox) subscribe(subject, group string, handle func(context.Context, *nats.Msg)) error {
	sub, err := in.conn.ChanQueueSubscribe(subject, group, in.messages)
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	in.subs[sub] = handle
	return nil
}

// Run handles messages until ctx ends, and returns nil then. Messages that have not been handled by then are dropped.
func (in *Inbox) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-in.messages:
			in.Dispatch(ctx, msg)
		}
	}
}

// C gives the messages to a loop that has other things to wait for too; each one is passed to Dispatch. It is never
// closed.
func (in *Inbox) C() <-chan *nats.Msg { return in.messages }

// Dispatch runs the handler of one message from C. A handler that panics is logged with its stack; the instances of
// a node do not die of one message.
func (in *Inbox) Dispatch(ctx context.Context, msg *nats.Msg) {
	defer func() {
		if fault := recover(); fault != nil {
			in.log.Error("nats.subscription.error", "subject", msg.Subject, "error", fault, "stack", string(debug.Stack()))
		}
	}()
	if handle := in.subs[msg.Sub]; handle != nil {
		in.log.Debug("nats.message.received", "subject", msg.Subject, "bytes", len(msg.Data))
		handle(ctx, msg)
	}
}

// Close ends all subscriptions. What waits in C is not handled any more unless the caller goes on dispatching.
func (in *Inbox) Close() {
	for sub := range in.subs {
		// An error says that the connection is closed, and with it the subscription.
		_ = sub.Unsubscribe()
	}
}

// Drain ends all subscriptions so that no message is lost that the server has sent already: when it returns, these wait in C,
// for the caller to dispatch. A server that does not answer is waited for until ctx ends, at most 10 s.
func (in *Inbox) Drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for sub := range in.subs {
		// An error says that there is no connection, over which something could be on its way.
		_ = sub.Drain()
	}
	if !in.conn.IsConnected() {
		return nil
	}
	if err := in.conn.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("drain subscriptions: %w", err)
	}
	return nil
}

func (in *Inbox) refuse(msg *nats.Msg, err error) {
	topic := "nats.subscription.error"
	var refused *MessageError
	if errors.As(err, &refused) && refused.Err != nil {
		topic = "nats.subscription.json_error"
	}
	in.log.Error(topic, "subject", msg.Subject, "bytes", len(msg.Data), "error", err)
}

// A Reply is where the answers to one request go. It may be kept and used from any goroutine.
type Reply struct {
	conn    *nats.Conn
	subject string
}

// Wanted tells whether the requester waits for answers at all.
func (r Reply) Wanted() bool { return r.subject != "" }

// Send checks and sends one answer; without a requester who waits it does nothing. Its errors are those of
// [Subject.Publish].
func Send[A any](r Reply, answer A) error {
	if !r.Wanted() {
		return nil
	}
	return Subject[A](r.subject).Publish(r.conn, answer)
}
