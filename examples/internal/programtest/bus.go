package programtest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/messaging/messagingtest"
)

// A Bus is a NATS server, and a peer of the programs that hears all of what they say.
type Bus struct {
	Server *messagingtest.Server
	Peer   *nats.Conn
	Heard  chan *nats.Msg // what nobody has awaited yet

	t testing.TB
}

// NewBus starts both, for the length of the test.
func NewBus(t testing.TB) *Bus {
	t.Helper()
	b := &Bus{Server: messagingtest.NewServer(t), Heard: make(chan *nats.Msg, 10_000), t: t}
	b.Peer = b.Server.Connect()
	_, err := b.Peer.ChanSubscribe(">", b.Heard)
	require.NoError(t, err)
	require.NoError(t, b.Peer.Flush())
	return b
}

// Await returns the next message on a subject for which ok holds; nil takes any. Those before it are forgotten.
func (b *Bus) Await(subject string, ok func(map[string]any) bool) map[string]any {
	b.t.Helper()
	for deadline := time.After(Patience); ; {
		select {
		case msg := <-b.Heard:
			var m map[string]any
			if msg.Subject == subject && json.Unmarshal(msg.Data, &m) == nil && (ok == nil || ok(m)) {
				return m
			}
		case <-deadline:
			b.t.Fatalf("no such message on %s", subject)
		}
	}
}

// Send publishes a message as JSON.
func (b *Bus) Send(subject string, message any) {
	b.t.Helper()
	data, err := json.Marshal(message)
	require.NoError(b.t, err)
	require.NoError(b.t, b.Peer.Publish(subject, data))
	require.NoError(b.t, b.Peer.Flush())
}
