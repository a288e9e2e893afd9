package tap

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// queueSize bounds the messages that wait to be shown; beyond it they are dropped and counted.
	queueSize = 8192

	// inboxes is where requesters have their answers sent.
	inboxes = "_INBOX.>"
)

// Options tell what to show and how.
type Options struct {
	Subject     string           // may contain wildcards; empty means ">", everything
	JSON        bool             // one object per line, for programs
	Colour      bool             // for terminals; not with JSON
	ShowSecrets bool             // show messages as they are
	Now         func() time.Time // nil means time.Now
}

// Counts tell what has been seen.
type Counts struct {
	Messages int // all that were shown
	Answers  int // of these, answers to requests that were seen
	Invalid  int // of these, such as a receiver would refuse
	Unknown  int // of these, such as have no known type
	Dropped  int // not shown: they came faster than they could be written
}

func (c Counts) String() string {
	return fmt.Sprintf("%d messages, of which %d answers, %d invalid, %d of unknown type; %d dropped",
		c.Messages, c.Answers, c.Invalid, c.Unknown, c.Dropped)
}

// A Tap shows the messages of one connection. It is used by one goroutine.
type Tap struct {
	opts     Options
	queue    chan *nats.Msg
	main     *nats.Subscription
	inbox    *nats.Subscription // nil when main hears answers too
	requests requests
	counts   Counts
}

// New subscribes. What comes from then on is shown by Run, which has to be called: it also unsubscribes. The
// connection stays the caller's.
func New(conn *nats.Conn, opts Options) (*Tap, error) {
	opts.Subject = either(opts.Subject, ">")
	t := &Tap{opts: opts, queue: make(chan *nats.Msg, queueSize)}
	var err error
	if !hearsInboxes(opts.Subject) {
		// Before the other one, so that no request comes without its answers.
		if t.inbox, err = conn.ChanSubscribe(inboxes, t.queue); err != nil {
			return nil, fmt.Errorf("subscribe to %s: %w", inboxes, err)
		}
	}
	if t.main, err = conn.ChanSubscribe(opts.Subject, t.queue); err != nil {
		t.close()
		return nil, fmt.Errorf("subscribe to %q: %w; '*' stands for one part of a subject, '>' at the end for all others", opts.Subject, err)
	}
	return t, nil
}

// hearsInboxes tells whether a subject overlaps with that of answers. Two subscriptions would then show some twice.
func hearsInboxes(subject string) bool {
	first, _, more := strings.Cut(subject, ".")
	return first == ">" || more && (first == "*" || first == "_INBOX")
}

// Run writes a line for each message to out until ctx ends, then those for the messages that have already come. It
// returns nil then, else the error of a failed write.
func (t *Tap) Run(ctx context.Context, out io.Writer) (Counts, error) {
	buffered := bufio.NewWriter(out)
	for {
		select {
		case <-ctx.Done():
			t.close()
			err := t.rest(buffered)
			return t.counts, err
		case msg := <-t.queue:
			if err := t.show(buffered, msg); err != nil {
				t.close()
				return t.counts, err
			}
		}
	}
}

// rest shows what waits in the queue.
func (t *Tap) rest(out *bufio.Writer) error {
	for len(t.queue) > 0 {
		if err := t.show(out, <-t.queue); err != nil {
			return err
		}
	}
	return nil
}

// show writes one message, and sends the lines on their way when no other message waits.
func (t *Tap) show(out *bufio.Writer, msg *nats.Msg) error {
	if t.wanted(msg) {
		line, err := t.format(t.record(msg))
		if err != nil {
			return fmt.Errorf("show message on %s: %w", printable(msg.Subject), err)
		}
		if _, err := out.WriteString(line); err != nil {
			return fmt.Errorf("write messages: %w", err)
		}
	}
	if len(t.queue) > 0 {
		return nil
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write messages: %w", err)
	}
	return nil
}

// wanted tells whether a message is to be shown. Of the answers that were subscribed to besides, only those are that
// belong to a request that was shown.
func (t *Tap) wanted(msg *nats.Msg) bool {
	if t.inbox == nil || msg.Sub != t.inbox {
		return true
	}
	_, ok := t.requests.find(msg.Subject)
	return ok
}

func (t *Tap) format(rec record) (string, error) {
	if t.opts.JSON {
		return rec.json()
	}
	return rec.line(t.opts.Colour), nil
}

// close ends the subscriptions and takes over what only they know.
func (t *Tap) close() {
	for _, sub := range []*nats.Subscription{t.main, t.inbox} {
		if sub == nil {
			continue
		}
		if dropped, err := sub.Dropped(); err == nil {
			t.counts.Dropped += dropped
		}
		_ = sub.Unsubscribe() // fails only on a closed connection
	}
}

func (t *Tap) now() time.Time {
	if t.opts.Now != nil {
		return t.opts.Now()
	}
	return time.Now()
}
