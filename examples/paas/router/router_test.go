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
	greeted(t, r)
	// Our own link may come up after the router's and miss the message: then once more.
	for attempts := 0; starts.Load() == 0; attempts++ {
		require.Less(t, attempts, 20, "no router.start after reconnections")
		r.nats.Stop()
		r.nats.Start()
		greeted(t, r)
		for deadline := time.Now().Add(300 * time.Millisecond); starts.Load() == 0 && time.Now().Before(deadline); {
			r.sync()
		}
	}
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
	const threshold = time.Second
	r := start(t, router.Config{PruneThreshold: threshold})
	addr := says(t, "hello")
	r.register(addr, "", "old.example.com")
	soon(t, "only the route that is renewed stays", func() bool {
		r.register(addr, "", "kept.example.com")
		routes := r.Routes()
		return len(routes) == 1 && len(routes["kept.example.com"]) == 1
	})

	r.nats.Stop()
	stopped := time.Now()
	soon(t, "the threshold has passed twice", func() bool { return time.Since(stopped) > 2*threshold })
	assert.Contains(t, r.Routes(), "kept.example.com", "nobody could renew it")
}

func TestRunFailsWithoutAPort(t *testing.T) {
	r := start(t, router.Config{})
	second := router.New(router.Config{Addr: r.addr}, r.conn, nil)
	assert.ErrorContains(t, second.Run(t.Context()), "router: listen")
}
