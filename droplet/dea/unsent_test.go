package dea_test

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// A heartbeat that the server does not take means that all instances here are missed. That must not go unsaid.
func TestWhatTheServerRefusesIsTold(t *testing.T) {
	log := &journal{}
	w := newSurroundings(t)
	w.app = sleeper(t)
	w.nats = messagingtest.NewServer(t, func(o *server.Options) { o.MaxPayload = 1 << 10 })
	w.peer = w.nats.Connect()
	_, err := w.peer.ChanSubscribe(">", w.heard)
	require.NoError(t, err)
	require.NoError(t, w.peer.Flush())
	w.alter = func(p *dea.Parts) { p.Logger = slog.New(slog.NewTextHandler(log, nil)) } // from INFO on
	w.run(nil)
	data, err := json.Marshal(w.startMessage("", func(m object) { m["uris"] = nil }))
	require.NoError(t, err)
	start, err := messaging.DEAStart(w.dea.ID()).Decode(data)
	require.NoError(t, err)
	for range 8 {
		w.dea.Start(start)
	}
	require.Eventually(t, func() bool {
		return strings.Contains(log.String(), "level=ERROR msg=dea.publish.failed") && strings.Contains(log.String(), "max_payload")
	}, patience, 5*time.Millisecond)
}
