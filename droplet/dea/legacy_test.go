package dea_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/testapp"
)

// ask returns the first answer to a request.
func (w *world) ask(subject, payload string) object {
	w.t.Helper()
	msg, err := w.peer.Request(subject, []byte(payload), patience)
	require.NoError(w.t, err)
	var m object
	require.NoError(w.t, json.Unmarshal(msg.Data, &m))
	return m
}

func TestHelloAtTheEndOfBoot(t *testing.T) {
	w := newSurroundings(t)
	hello := make(chan *nats.Msg, 10)
	_, err := w.peer.ChanSubscribe("dea.start", hello)
	require.NoError(t, err)
	w.run(nil)
	assert.JSONEq(t, `{"id":"`+w.dea.ID()+`","ip":"127.0.0.1","version":"0.0.1"}`, string((<-hello).Data))
}

func TestStatus(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.Instance.SampleInterval = 20 * time.Millisecond })
	w.start(w.startMessage(testapp.Serves, nil))
	w.running()
	for _, payload := range []string{"", "{}", "null", "not json"} {
		require.Eventually(t, func() bool { return w.ask("dea.status", payload)["used_memory"].(float64) > 0 }, patience, 10*time.Millisecond)
		status := w.ask("dea.status", payload)
		assert.Contains(t, status, "num_clients")
		used := status["used_memory"].(float64)
		delete(status, "used_memory")
		assert.Equal(t, object{
			"id": w.dea.ID(), "ip": "127.0.0.1", "version": "0.0.1", "max_memory": 1024.0, "reserved_memory": 64.0, "num_clients": nil,
		}, status)
		assert.Less(t, used, 64.0)
	}
}

func TestLegacySubjects(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.LegacySubjects = true })
	assert.Equal(t, w.dea.ID(), w.ask("dea.discover", `{"droplet":"app-guid","limits":{"mem":512,"disk":512,"fds":1}}`)["id"])
	w.start(w.startMessage(testapp.Serves, nil))
	w.running()
	assert.Equal(t, object{"name": "shop", "uris": []any{"shop.example.com"}}, w.ask("droplet.status", ""))

	inbox := w.peer.NewInbox()
	sub, err := w.peer.SubscribeSync(inbox)
	require.NoError(t, err)
	require.NoError(t, w.peer.PublishRequest("dea.discover", inbox, []byte(`{"droplet":"app-guid","limits":{"mem":1000,"disk":512,"fds":1}}`)))
	require.NoError(t, w.peer.PublishRequest("dea.discover", inbox, []byte(`{"droplet":"app-guid","limits":{"mem":1,"disk":5000,"fds":1}}`)))
	require.NoError(t, w.peer.PublishRequest("dea.discover", inbox, []byte(`{"droplet":"app-guid","limits":{"mem":1,"disk":1,"fds":1}}`)))
	_, err = sub.NextMsg(patience)
	require.NoError(t, err, "the last one has room")
	_, err = sub.NextMsg(300 * time.Millisecond)
	assert.ErrorIs(t, err, nats.ErrTimeout, "who has no room says nothing")
}

// Without the option nobody hears them.
func TestLegacySubjectsAreOff(t *testing.T) {
	w := newWorld(t, nil)
	for _, subject := range []string{"dea.discover", "droplet.status"} {
		_, err := w.peer.Request(subject, []byte(`{"droplet":"app-guid","limits":{"mem":1,"disk":1,"fds":1}}`), time.Second)
		assert.Error(t, err, subject)
	}
}
