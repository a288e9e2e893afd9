package router_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/examples/paas/router"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, 2*time.Millisecond, what)
}

// rig is a running router with a NATS server and a client.
type rig struct {
	*router.Router
	t      testing.TB
	nats   *messagingtest.Server
	conn   *nats.Conn // of a DEA
	url    string
	addr   string
	client *http.Client
	stop   func() // ends Run and waits for it
}

func start(t testing.TB, cfg router.Config) *rig {
	t.Helper()
	server := messagingtest.NewServer(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg.Listener = listener
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = patience
	}
	r := &rig{
		Router: router.New(cfg, server.Connect(), nil),
		t:      t, nats: server, conn: server.Connect(),
		url: "http://" + listener.Addr().String(), addr: listener.Addr().String(),
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 50}
	r.client = &http.Client{Transport: transport, Timeout: patience}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stopped := false
	r.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			assert.NoError(t, <-ended)
			transport.CloseIdleConnections()
		}
	}
	t.Cleanup(r.stop)
	greeted(t, r)
	return r
}

// greeted waits until the router answers, and returns what it says.
func greeted(t testing.TB, r *rig) messaging.RouterHello {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		hello, err := messaging.RouterGreet.Ask(ctx, r.conn, messaging.Signal{})
		cancel()
		if err == nil {
			return hello
		}
	}
	require.Fail(t, "the router does not answer router.greet")
	return messaging.RouterHello{}
}

// route makes the message for an address of the form host:port, with the instance id given.
func route(t testing.TB, addr, instance string, uris ...string) messaging.Route {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	n, err := strconv.ParseUint(port, 10, 16)
	require.NoError(t, err)
	return messaging.Route{Host: host, Port: uint16(n), URIs: uris, App: "app", PrivateInstanceID: instance}
}

// register makes routes and waits until the router has them.
func (r *rig) register(addr, instance string, uris ...string) messaging.Route {
	r.t.Helper()
	message := route(r.t, addr, instance, uris...)
	require.NoError(r.t, messaging.RouterRegister.Publish(r.conn, message))
	r.sync()
	return message
}

func (r *rig) unregister(message messaging.Route) {
	r.t.Helper()
	require.NoError(r.t, messaging.RouterUnregister.Publish(r.conn, message))
	r.sync()
}

// sync returns when the router has handled all that was sent: it answers in order.
func (r *rig) sync() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := messaging.RouterGreet.Ask(ctx, r.conn, messaging.Signal{})
	require.NoError(r.t, err)
}

type answer struct {
	status int
	body   string
	header http.Header
}

// get asks for a host; change may edit the request.
func (r *rig) get(host string, change ...func(*http.Request)) answer {
	r.t.Helper()
	got, err := r.try(host, change...)
	require.NoError(r.t, err)
	return got
}

func (r *rig) try(host string, change ...func(*http.Request)) (answer, error) {
	request, err := http.NewRequest(http.MethodGet, r.url+"/p", nil)
	if err != nil {
		return answer{}, err
	}
	request.Host = host
	for _, c := range change {
		c(request)
	}
	response, err := r.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, string(body), response.Header}, err
}

func post(body string) func(*http.Request) {
	return func(r *http.Request) {
		r.Method = http.MethodPost
		r.ContentLength = int64(len(body))
		r.Body = io.NopCloser(bytes.NewReader([]byte(body)))
	}
}

// backend starts an HTTP server and returns its address.
func backend(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	return u.Host
}

func says(t testing.TB, text string) string {
	return backend(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, text) })
}

// deadAddr returns an address at which nothing listens.
func deadAddr(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}
