package applog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

// NATSConfig tells a NATS where to publish. Conn is required.
type NATSConfig struct {
	// Conn stays the caller's, and has to live until Run has returned.
	Conn *nats.Conn

	// Prefix begins the subjects, see messaging.AppLog; default messaging.AppLogPrefix.
	Prefix string

	// MaxText bounds the text of a message in bytes; default 64 KiB. A message that the server would still find too large
	// is cut further.
	MaxText int

	// QueueBytes bounds what waits to be published; default 8 MiB. When there is more, the oldest lines are lost. As much
	// again can be on its way.
	QueueBytes int

	// FlushTimeout bounds how long Run goes on publishing what waits when its context has ended; default 3 s.
	FlushTimeout time.Duration

	Logger *slog.Logger // nil discards
}

// NATS is an Emitter that publishes lines as JSON, each app's on a subject of its own; see messaging.AppLog. While no server is
// reachable lines wait as far as there is room.
type NATS struct {
	cfg     NATSConfig
	queue   *queue
	tally   tally
	running atomic.Bool
}

// NewNATS returns a NATS, for which the caller calls Run.
func NewNATS(cfg NATSConfig) (*NATS, error) {
	setDefault(&cfg.Prefix, messaging.AppLogPrefix)
	setDefault(&cfg.MaxText, 64<<10)
	setDefault(&cfg.QueueBytes, 8<<20)
	setDefault(&cfg.FlushTimeout, 3*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.Conn == nil:
		return nil, errors.New("log lines on NATS: no connection; set Conn")
	case cfg.MaxText < 0, cfg.QueueBytes < 0, cfg.FlushTimeout < 0:
		return nil, errors.New("log lines on NATS: MaxText, QueueBytes and FlushTimeout must not be negative; 0 is the default")
	}
	for part := range strings.SplitSeq(cfg.Prefix, ".") {
		if !messaging.IsToken(part) {
			return nil, fmt.Errorf("log lines on NATS: Prefix %q is no subject: it must be names with dots between", cfg.Prefix)
		}
	}
	n := &NATS{cfg: cfg}
	n.queue = newQueue(cfg.QueueBytes, &n.tally)
	return n, nil
}

// Emit implements Emitter. Lines wait until Run runs.
func (n *NATS) Emit(line Line) { n.queue.put(stamped(line)) }

// Stats counts lines.
func (n *NATS) Stats() Stats { return n.tally.stats() }

// Run publishes lines until ctx ends, and then for a moment what still waits. It returns nil when everything that it
// started has ended. A connection that is stuck can hold it up until nats.go gives that up. It can be called once.
func (n *NATS) Run(ctx context.Context) error {
	if n.running.Swap(true) {
		return errors.New("log lines on NATS: Run was called before")
	}
	hard, cut := outlasting(ctx, n.cfg.FlushTimeout)
	defer cut()
	defer n.queue.tell(n.cfg.Logger, true)
	connected := n.cfg.Conn.StatusChanged(nats.CONNECTED)
	defer n.cfg.Conn.RemoveStatusListener(connected)
	for ctx.Err() == nil {
		select {
		case <-n.queue.ready:
			n.publish(hard, n.queue.take(), connected)
			n.queue.tell(n.cfg.Logger, false)
		case <-connected: // of no interest while nothing waits
		case <-ctx.Done():
		}
	}
	n.queue.close()
	n.publish(hard, n.queue.take(), connected)
	n.flush(hard)
	return nil
}

// publish does not give up before ctx ends.
func (n *NATS) publish(ctx context.Context, lines []Line, connected <-chan nats.Status) {
	for i := 0; i < len(lines); {
		if ctx.Err() != nil {
			n.queue.drop(len(lines) - i)
			return
		}
		err := n.publishOne(lines[i])
		switch {
		case err == nil:
			n.tally.sent.Add(1)
			i++
		case errors.Is(err, messaging.ErrDisconnected):
			n.await(ctx, connected)
		default:
			n.cfg.Logger.Debug("applog.nats.refused", "error", err)
			n.queue.drop(1)
			i++
		}
	}
}

func (n *NATS) publishOne(line Line) error {
	m := messaging.AppLogLine{
		Time: line.Time.UTC(), App: messaging.Text(line.App), Instance: line.Instance,
		Source: cmp.Or(line.Source, App), Stream: cmp.Or(line.Stream, Stdout), Text: cut(line.Text, n.cfg.MaxText),
	}
	if line.Instance != "" {
		m.Index = &line.Index
	}
	subject := messaging.AppLog(n.cfg.Prefix, line.App)
	err := subject.Publish(n.cfg.Conn, m)
	if errors.Is(err, nats.ErrMaxPayload) {
		// What JSON makes of a byte is 6 bytes at most; the rest of the message is guids.
		m.Text = cut(m.Text, int(max(n.cfg.Conn.MaxPayload()-1024, 0)/6))
		err = subject.Publish(n.cfg.Conn, m)
	}
	return err
}

// cut shortens text to so many bytes, not within a character.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// await waits for a server. It looks from time to time, as a change of status can be missed.
func (n *NATS) await(ctx context.Context, connected <-chan nats.Status) {
	n.queue.tell(n.cfg.Logger, false)
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-connected:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// flush sees that what was published is not only in a buffer.
func (n *NATS) flush(ctx context.Context) {
	if !n.cfg.Conn.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.FlushTimeout)
	defer cancel()
	if err := n.cfg.Conn.FlushWithContext(ctx); err != nil {
		n.cfg.Logger.Warn("applog.nats.flush", "error", err)
	}
}
