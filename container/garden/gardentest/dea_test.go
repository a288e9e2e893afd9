package gardentest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container/metered"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

type object = map[string]any

// TestDEA runs an app in a DEA whose containers are Garden's, from the start message to the stop message.
func TestDEA(t *testing.T) {
	bus, app := messagingtest.NewServer(t), testapp.NewDroplet(t, nil)
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, app.Path) }))
	defer store.Close()
	peer := bus.Connect()
	heard := make(chan *nats.Msg, 10000)
	_, err := peer.ChanSubscribe(">", heard)
	require.NoError(t, err)
	require.NoError(t, peer.Flush())

	inner := connect(t, serve(t))
	backend, base := metered.New(inner), t.TempDir()
	droplets, err := droplet.NewStore(base+"/droplets", droplet.StoreOptions{})
	require.NoError(t, err)
	conn, err := messaging.Connect(messaging.Config{Servers: []string{bus.URL()}})
	require.NoError(t, err)
	defer conn.Close()
	ledger := resources.NewLedger(resources.Capacity{MemoryBytes: 1 << 30, DiskBytes: 4 << 30})
	d, err := dea.New(dea.Config{BaseDir: base, HostIP: "127.0.0.1"}, dea.Parts{
		Conn: conn, Backend: backend, Droplets: droplets, Ledger: ledger,
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	defer func() {
		stop()
		require.NoError(t, <-ended)
		require.NoError(t, droplets.Close())
		left, err := inner.List(context.Background())
		require.NoError(t, err)
		assert.Empty(t, left)
		assert.Equal(t, resources.Amount{}, ledger.Reserved())
	}()

	await := func(subject string, ok func(object) bool) object {
		t.Helper()
		for deadline := time.After(30 * time.Second); ; {
			select {
			case msg := <-heard:
				var m object
				if msg.Subject == subject && json.Unmarshal(msg.Data, &m) == nil && ok(m) {
					return m
				}
			case <-deadline:
				t.Fatalf("no such message on %s", subject)
			}
		}
	}
	publish := func(subject string, m object) {
		t.Helper()
		data, err := json.Marshal(m)
		require.NoError(t, err)
		require.NoError(t, peer.Publish(subject, data))
		require.NoError(t, peer.Flush())
	}
	await("dea.heartbeat", func(object) bool { return true })
	publish("dea."+d.ID()+".start", object{
		"droplet": "app-guid", "index": 0, "name": "shop", "version": "v1", "cc_partition": "default", "uris": []string{"shop.example.com"},
		"sha1": app.SHA1, "executableUri": store.URL, "services": []object{}, "env": []string{testapp.Env(testapp.Serves)},
		"limits":               object{"mem": 64, "disk": 128, "fds": 256},
		"egress_network_rules": []object{{"protocol": "tcp", "destination": "192.0.2.0/24", "ports": "80,443"}},
	})
	route := await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	response, err := http.Get(fmt.Sprintf("http://%s:%.0f/", route["host"], route["port"]))
	require.NoError(t, err)
	page, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, http.StatusOK, response.StatusCode)
	assert.NotEmpty(t, page)
	left, err := inner.List(t.Context())
	require.NoError(t, err)
	assert.Len(t, left, 1)
	http.DefaultClient.CloseIdleConnections()

	publish("dea.stop", object{"droplet": "app-guid"})
	await("router.unregister", func(m object) bool { return m["port"] == route["port"] })
	require.Eventually(t, func() bool {
		left, err := inner.List(t.Context())
		return err == nil && len(left) == 0
	}, 20*time.Second, 10*time.Millisecond)
	assert.Positive(t, backend.Stats().Requests)
}
