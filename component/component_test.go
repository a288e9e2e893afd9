package component_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/component"
	"github.com/deakit/deakit/messaging/messagingtest"
)

type object = map[string]any

// run runs a component for the length of the test.
func run(t *testing.T, cfg component.Config) *component.Component {
	t.Helper()
	c, err := component.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	return c
}

// next returns the next message, as plain JSON.
func next(t *testing.T, sub *nats.Subscription) object {
	t.Helper()
	msg, err := sub.NextMsg(20 * time.Second)
	require.NoError(t, err)
	var m object
	require.NoError(t, json.Unmarshal(msg.Data, &m))
	return m
}

// subscribe listens to a subject; the server knows of it when subscribe returns.
func subscribe(t *testing.T, conn *nats.Conn, subject string) *nats.Subscription {
	t.Helper()
	sub, err := conn.SubscribeSync(subject)
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	return sub
}

// get asks the endpoint that a record names, with its credentials.
func get(t *testing.T, record object, path string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s%s", record["host"], path), nil)
	require.NoError(t, err)
	credentials := record["credentials"].([]any)
	req.SetBasicAuth(credentials[0].(string), credentials[1].(string))
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

func TestAnnouncedAndDiscovered(t *testing.T) {
	server := messagingtest.NewServer(t)
	peer := server.Connect()
	announced := subscribe(t, peer, "vcap.component.announce")
	before := time.Now().Truncate(time.Second)
	run(t, component.Config{Type: "DEA", Index: 3, Host: "127.0.0.1", Conn: server.Connect()})

	record := next(t, announced)
	assert.Equal(t, "DEA", record["type"])
	assert.Equal(t, 3.0, record["index"])
	assert.Regexp(t, `^3-[0-9a-f]{32}$`, record["uuid"])
	assert.NotContains(t, record, "uptime")
	start, err := time.Parse("2006-01-02 15:04:05 -0700", record["start"].(string))
	require.NoError(t, err)
	assert.WithinRange(t, start, before, time.Now())
	credentials := record["credentials"].([]any)
	require.Len(t, credentials, 2)
	assert.Regexp(t, `^[0-9a-f]{32}$`, credentials[0])
	assert.Regexp(t, `^[0-9a-f]{32}$`, credentials[1])
	assert.NotEqual(t, credentials[0], credentials[1])

	for _, payload := range []string{"", "{}", "null", "not json", `{"type":"Router"}`} {
		msg, err := peer.Request("vcap.component.discover", []byte(payload), 20*time.Second)
		require.NoError(t, err, payload)
		var answer object
		require.NoError(t, json.Unmarshal(msg.Data, &answer))
		assert.Regexp(t, `^0d:0h:\d+m:\d+s$`, answer["uptime"])
		delete(answer, "uptime")
		assert.Equal(t, record, answer)
	}
	require.NoError(t, peer.Publish("vcap.component.discover", nil), "nobody waits for this answer")

	resp, body := get(t, record, "/healthz")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	assert.Equal(t, "ok\n", body)
}

// A gate is a dialer that fails while it is shut.
type gate struct{ open atomic.Bool }

func (g *gate) Dial(network, address string) (net.Conn, error) {
	if !g.open.Load() {
		return nil, errors.New("the gate is shut")
	}
	return net.Dial(network, address)
}

func TestAnnouncedWheneverThereIsAServer(t *testing.T) {
	server := messagingtest.NewServer(t)
	peer := server.Connect()
	announced := subscribe(t, peer, "vcap.component.announce")
	var g gate
	conn, err := nats.Connect(server.URL(), nats.SetCustomDialer(&g), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(0, 0), nats.ReconnectBufSize(-1))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	run(t, component.Config{Type: "DEA", Host: "127.0.0.1", Conn: conn})
	g.open.Store(true)
	record := next(t, announced)

	g.open.Store(false)
	server.Stop()
	server.Start()
	back := func() bool { return peer.IsConnected() && peer.FlushTimeout(time.Second) == nil }
	require.Eventually(t, back, 20*time.Second, time.Millisecond)
	g.open.Store(true)
	assert.Equal(t, record, next(t, announced))
}

func TestVarz(t *testing.T) {
	var counts component.LogCounts
	log := slog.New(counts.Handler(slog.NewTextHandler(io.Discard, nil)))
	log.Warn("one")
	log.Warn("two")
	c, err := component.New(component.Config{
		Type: "Router", Index: 1, UUID: "1-abc", Host: "10.0.0.9", Port: 8081, User: "u", Password: "p:w", LogCounts: &counts,
		Varz: func(context.Context) map[string]any {
			return object{"requests": 17, "nested": object{"a": []string{"<b>"}}, "type": "not the owner's to say"}
		},
	})
	require.NoError(t, err)
	resp := answer(c.Handler(), "GET", "/varz", "u", "p:w")
	assert.Equal(t, 200, resp.Code)
	assert.Equal(t, "application/json", resp.Header().Get("Content-Type"))
	body := resp.Body.String()
	assert.True(t, strings.HasPrefix(body, "{\n  \"") && strings.HasSuffix(body, "\n}\n"), "pretty, with a final newline: %s", body)
	assert.Contains(t, body, `"<b>"`)

	var v object
	require.NoError(t, json.Unmarshal([]byte(body), &v))
	assert.Equal(t, "Router", v["type"])
	assert.Equal(t, 1.0, v["index"])
	assert.Equal(t, "1-abc", v["uuid"])
	assert.Equal(t, "10.0.0.9:8081", v["host"])
	assert.Equal(t, []any{"u", "p:w"}, v["credentials"])
	assert.Regexp(t, `^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}$`, v["start"])
	assert.Regexp(t, `^0d:0h:0m:\d+s$`, v["uptime"])
	assert.GreaterOrEqual(t, v["cpu"], 0.0)
	assert.GreaterOrEqual(t, v["cpu_load_avg"], 0.0)
	assert.Greater(t, v["num_cores"], 0.0)
	assert.Greater(t, v["mem_bytes"], float64(1<<20))
	assert.Greater(t, v["mem_used_bytes"], v["mem_bytes"])
	assert.Greater(t, v["mem_free_bytes"], 0.0)
	for _, integer := range []string{"mem_bytes", "mem_used_bytes", "mem_free_bytes", "num_cores"} {
		assert.Regexp(t, regexp.MustCompile(`"`+integer+`": \d+[,\n]`), body)
	}
	assert.Equal(t, object{
		"fatal": 0.0, "error": 0.0, "warn": 2.0, "info": 0.0, "debug": 0.0, "debug1": 0.0, "debug2": 0.0,
	}, v["log_counts"])
	assert.Equal(t, 17.0, v["requests"])
	assert.Equal(t, object{"a": []any{"<b>"}}, v["nested"])
}

func TestConfigIsChecked(t *testing.T) {
	_, err := component.New(component.Config{Index: -1, User: "a:b"})
	for _, text := range []string{"Type", "Index", "User"} {
		assert.ErrorContains(t, err, text)
	}
}

func TestRunTellsWhatKeepsItFromStarting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	c, err := component.New(component.Config{
		Type: "DEA", Host: "127.0.0.1", Port: uint16(taken.Addr().(*net.TCPAddr).Port), Password: "secret",
	})
	require.NoError(t, err)
	err = c.Run(t.Context())
	assert.ErrorContains(t, err, "component: open the status endpoint")
	assert.ErrorContains(t, err, taken.Addr().String())

	conn := messagingtest.NewServer(t).Connect()
	conn.Close()
	c, err = component.New(component.Config{Type: "DEA", Host: "127.0.0.1", Conn: conn})
	require.NoError(t, err)
	assert.ErrorContains(t, c.Run(t.Context()), "vcap.component.discover")
}
