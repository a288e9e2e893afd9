package applog

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func newNATS(t *testing.T, cfg NATSConfig) *NATS {
	t.Helper()
	n, err := NewNATS(cfg)
	require.NoError(t, err)
	return n
}

// subscribe returns a subscription that the server knows of.
func subscribe(t *testing.T, conn *nats.Conn, subject string) *nats.Subscription {
	t.Helper()
	sub, err := conn.SubscribeSync(subject)
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	return sub
}

func next(t *testing.T, sub *nats.Subscription) (*nats.Msg, messaging.AppLogLine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	msg, err := sub.NextMsgWithContext(ctx)
	require.NoError(t, err)
	m, err := messaging.Subject[messaging.AppLogLine](msg.Subject).Decode(msg.Data)
	require.NoError(t, err)
	return msg, m
}

func TestNATS(t *testing.T) {
	srv := messagingtest.NewServer(t)
	sub := subscribe(t, srv.Connect(), messaging.AppLogPrefix+".*")
	n := newNATS(t, NATSConfig{Conn: srv.Connect()})
	n.Emit(Line{App: "guid", Instance: "c623", Index: 2, Source: App, Stream: Stderr, Text: "bad \xff", Time: noon,
		Drains: []string{"syslog://user:secret@h"}})
	run(t, n)
	msg, m := next(t, sub)
	assert.Equal(t, "deakit.logs.guid", msg.Subject)
	assert.JSONEq(t, `{"time":"2014-03-09T11:00:00.123456789Z","app":"guid","instance":"c623","index":2,"source":"APP",
		"stream":"stderr","text":"bad \ufffd"}`, string(msg.Data))
	assert.True(t, m.Time.Equal(noon))

	n.Emit(Line{App: "guid", Source: DEA, Text: "hi"})
	msg, m = next(t, sub)
	assert.NotContains(t, string(msg.Data), "instance")
	assert.EqualValues(t, Stdout, m.Stream)
	assert.NotContains(t, string(msg.Data), "index", "the line is of no instance")
	assert.WithinDuration(t, time.Now(), m.Time, time.Minute)
	eventually(t, "both are counted", func() bool { return n.Stats() == Stats{Sent: 2} })
}

func TestNATSSubject(t *testing.T) {
	for guid, want := range map[string]string{
		"0e7b4b2e-9c1c": "p.0e7b4b2e-9c1c", "": "p._", "a.b": "p.a_b", "a.>": "p.a__", "x*": "p.x_", "*": "p._", "a b\r\n": "p.a_b__",
		"ä\xff\x00": "p.___", strings.Repeat("x", 1000): "p." + strings.Repeat("x", 128),
	} {
		assert.Equal(t, want, string(messaging.AppLog("p", guid)), "%q", guid)
	}
}

func TestNATSConfig(t *testing.T) {
	conn := messagingtest.NewServer(t).Connect()
	for _, cfg := range []NATSConfig{{}, {Conn: conn, MaxText: -1}, {Conn: conn, Prefix: "a.*"}, {Conn: conn, Prefix: "a."}} {
		_, err := NewNATS(cfg)
		assert.Error(t, err)
	}
}

// Strange guids go to subjects that exist, and the message has the guid.
func TestNATSHostileGUID(t *testing.T) {
	srv := messagingtest.NewServer(t)
	sub := subscribe(t, srv.Connect(), "deakit.logs.*")
	n := newNATS(t, NATSConfig{Conn: srv.Connect()})
	run(t, n)
	for _, guid := range []string{"", ">", "*", "a b", "a.b\r\nPUB x 0\r\n"} {
		n.Emit(Line{App: guid, Text: "x"})
		msg, m := next(t, sub)
		assert.EqualValues(t, guid, m.App)
		assert.True(t, messaging.IsToken(strings.TrimPrefix(msg.Subject, "deakit.logs.")), msg.Subject)
	}
}

// A text that the server would refuse is cut.
func TestNATSSize(t *testing.T) {
	srv := messagingtest.NewServer(t, func(o *server.Options) { o.MaxPayload = 4096 })
	sub := subscribe(t, srv.Connect(), "deakit.logs.*")
	n := newNATS(t, NATSConfig{Conn: srv.Connect()})
	run(t, n)
	for _, text := range []string{strings.Repeat("\x01", 10_000), strings.Repeat("ä", 10_000), "short"} {
		n.Emit(Line{App: "guid", Text: text})
		_, m := next(t, sub)
		require.NotEmpty(t, m.Text)
		assert.True(t, strings.HasPrefix(text, m.Text))
	}
	n.Emit(Line{App: "guid", Instance: strings.Repeat("x", 5000), Text: "too large whatever is cut"})
	eventually(t, "it is counted", func() bool { return n.Stats() == Stats{Sent: 3, Lost: 1} })
}

// Lines wait for a server that is away, as far as there is room.
func TestNATSWithoutServer(t *testing.T) {
	srv := messagingtest.NewServer(t)
	conn, listener := srv.Connect(), srv.Connect()
	sub := subscribe(t, listener, "deakit.logs.*")
	book := &logBook{}
	n := newNATS(t, NATSConfig{Conn: conn, QueueBytes: 10 * (lineCost + 3), Logger: book.logger()})
	run(t, n)
	srv.Stop()
	eventually(t, "the link is down", func() bool { return !conn.IsConnected() && !listener.IsConnected() })
	n.Emit(Line{App: "guid", Text: "first"})
	eventually(t, "it is taken", func() bool { return n.queue.empty() })
	for i := range 15 {
		n.Emit(Line{App: "guid", Text: strconv.Itoa(i + 100)})
	}
	assert.Equal(t, Stats{Lost: 5}, n.Stats())
	srv.Start()
	eventually(t, "the listener is back", func() bool { return listener.IsConnected() && listener.Flush() == nil })
	eventually(t, "all is sent", func() bool { return n.Stats().Sent == 11 })
	assert.Equal(t, 1, book.count("applog.lines.lost"))
	_ = sub.Unsubscribe()
}

// What waits when the context ends is sent; without a server the end comes all the same.
func TestNATSFlushesAtTheEnd(t *testing.T) {
	srv := messagingtest.NewServer(t)
	sub := subscribe(t, srv.Connect(), "deakit.logs.*")
	conn := srv.Connect()
	n := newNATS(t, NATSConfig{Conn: conn})
	for range 1000 {
		n.Emit(Line{App: "guid", Text: "x"})
	}
	run(t, n)()
	assert.Equal(t, Stats{Sent: 1000}, n.Stats())
	pending := func() bool { got, _, err := sub.Pending(); return err == nil && got == 1000 }
	eventually(t, "all arrive", pending)
	n.Emit(Line{})
	assert.EqualValues(t, 1, n.Stats().Lost)
	assert.Error(t, n.Run(t.Context()))

	srv.Stop()
	eventually(t, "the link is down", func() bool { return !conn.IsConnected() })
	n = newNATS(t, NATSConfig{Conn: conn, FlushTimeout: 10 * time.Millisecond})
	n.Emit(Line{App: "guid", Text: "x"})
	run(t, n)()
	assert.Equal(t, Stats{Lost: 1}, n.Stats())
}
