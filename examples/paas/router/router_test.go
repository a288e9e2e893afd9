package router_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/paas/router"
	"github.com/deakit/deakit/messaging"
)

func TestRoutesComeAndGo(t *testing.T) {
	r := start(t, router.Config{})
	none := r.get("shop.example.com")
	assert.Equal(t, http.StatusNotFound, none.status)
	assert.Equal(t, "404 Not Found: Requested route ('shop.example.com') does not exist.\n", none.body)
	assert.Equal(t, "unknown_route", none.header.Get("X-Cf-RouterError"))

	message := r.register(says(t, "hello"), "i", "Shop.Example.com:80", "*.wild.example.com", "path.example.com/x", "")
	for _, host := range []string{"shop.example.com", "SHOP.example.com:8080", "shop.example.com.", "a.b.wild.example.com"} {
		assert.Equal(t, "hello", r.get(host).body, host)
	}
	for _, host := range []string{"example.com", "wild.example.com", "path.example.com", "com"} {
		assert.Equal(t, http.StatusNotFound, r.get(host).status, host)
	}
	assert.Len(t, r.Routes(), 2)
	shop := r.Routes()["shop.example.com"]
	require.Len(t, shop, 1)
	assert.Equal(t, "app", shop[0].App)

	r.unregister(message)
	assert.Equal(t, http.StatusNotFound, r.get("shop.example.com").status)
	assert.Empty(t, r.Routes())
}

func TestEndpointsTakeTurns(t *testing.T) {
	r := start(t, router.Config{})
	for _, name := range []string{"a", "b", "c"} {
		r.register(says(t, name), name, "h")
	}
	var got strings.Builder
	for range 6 {
		got.WriteString(r.get("h").body)
	}
	assert.Equal(t, "abcabc", got.String())
}

// An instance that starts on the port of one that vanished takes over the address, whatever its routes are.
func TestReusedPort(t *testing.T) {
	r := start(t, router.Config{})
	addr := says(t, "new")
	old := r.register(addr, "old", "old.example.com", "both.example.com")
	r.register(addr, "new", "new.example.com", "both.example.com")
	assert.Equal(t, http.StatusNotFound, r.get("old.example.com").status)
	r.unregister(old)
	assert.Equal(t, "new", r.get("both.example.com").body, "a late good-bye of the old one does not count")
	assert.Equal(t, "new", r.get("new.example.com").body)
}

func TestStartAndGreet(t *testing.T) {
	r := start(t, router.Config{ID: "r", Hosts: []string{"127.0.0.9"}})
	want := messaging.RouterHello{ID: "r", Hosts: []string{"127.0.0.9"}, MinimumRegisterInterval: 20, PruneThreshold: 120}
	assert.Equal(t, want, greeted(t, r))

	var starts atomic.Int32
	_, err := r.conn.Subscribe(string(messaging.RouterStart), func(msg *nats.Msg) {
		if hello, err := messaging.RouterStart.Decode(msg.Data); err == nil && hello.ID == "r" {
			starts.Add(1)
		}
	})
	require.NoError(t, err)
	r.register(says(t, "hello"), "", "h")
	r.nats.Stop()
	assert.Equal(t, "hello", r.get("h").body, "routes live without NATS")
	r.nats.Start()
	// The listener may come back after the router: what counts is that a router.start follows a reconnection.
	soon(t, "router.start after a reconnection", func() bool {
		if starts.Load() > 0 {
			return true
		}
		if r.conn.IsConnected() && r.conn.FlushTimeout(time.Second) == nil && starts.Load() == 0 {
			r.nats.Stop()
			r.nats.Start()
		}
		return false
	})
	greeted(t, r)
	assert.Equal(t, "hello", r.get("h").body)
}

func TestStartIsPublishedAtTheStart(t *testing.T) {
	r := start(t, router.Config{})
	heard, err := r.conn.SubscribeSync(string(messaging.RouterStart))
	require.NoError(t, err)
	require.NoError(t, r.conn.Flush())
	second := startOn(t, r)
	msg, err := heard.NextMsg(patience)
	require.NoError(t, err)
	hello, err := messaging.RouterStart.Decode(msg.Data)
	require.NoError(t, err)
	assert.Len(t, hello.ID, 32)
	assert.Equal(t, []string{"127.0.0.1"}, hello.Hosts)
	second()
}

func TestPrune(t *testing.T) {
	r := start(t, router.Config{PruneThreshold: 300 * time.Millisecond})
	addr := says(t, "hello")
	r.register(addr, "", "old.example.com")
	soon(t, "only the route that is renewed stays", func() bool {
		r.register(addr, "", "kept.example.com")
		return len(r.Routes()) == 1
	})
	assert.Contains(t, r.Routes(), "kept.example.com")

	r.nats.Stop()
	before := r.Routes()["kept.example.com"][0].Seen
	soon(t, "the threshold has passed", func() bool { return time.Since(before) > 600*time.Millisecond })
	assert.Contains(t, r.Routes(), "kept.example.com", "nobody could renew it")
}

func TestRunFailsWithoutAPort(t *testing.T) {
	r := start(t, router.Config{})
	second := router.New(router.Config{Addr: r.addr}, r.conn, nil)
	assert.ErrorContains(t, second.Run(t.Context()), "router: listen")
}
