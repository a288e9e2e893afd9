package router_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/paas/router"
)

// startOn runs another router on the same NATS server and returns what ends it.
func startOn(t *testing.T, r *rig) func() {
	t.Helper()
	second := router.New(router.Config{}, r.nats.Connect(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- second.Run(ctx) }()
	return func() { cancel(); assert.NoError(t, <-ended) }
}

func TestWhatAnEndpointSees(t *testing.T) {
	echo := backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s host=%s for=%s proto=%s agent=%s body=%s", r.Method, r.RequestURI, r.Host,
			r.Header.Values("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"), r.Header.Get("User-Agent"), body)
	})
	spoof := func(r *http.Request) {
		r.URL.RawQuery = "a;b&c=%zz"
		r.URL.RawPath, r.URL.Path = "/x%2fy", "/x/y"
		r.Header.Set("X-Forwarded-For", "10.1.2.3")
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("User-Agent", "me")
	}
	for trust, want := range map[bool]string{
		false: "POST /x%2fy?a;b&c=%zz host=H.example.com:81 for=[127.0.0.1] proto=http agent=me body=data",
		true:  "POST /x%2fy?a;b&c=%zz host=H.example.com:81 for=[10.1.2.3, 127.0.0.1] proto=https agent=me body=data",
	} {
		r := start(t, router.Config{TrustForwarded: trust})
		r.register(echo, "", "h.example.com")
		assert.Equal(t, want, r.get("H.example.com:81", post("data"), spoof).body)
	}
}

func TestUnreachableEndpointIsPassedOver(t *testing.T) {
	r := start(t, router.Config{SetAside: time.Hour})
	dead := deadAddr(t)
	r.register(dead, "", "h", "alone")
	r.register(backend(t, func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		fmt.Fprintf(w, "%s %s", req.Method, body)
	}), "", "h")
	for i := range 10 {
		body := fmt.Sprint("data ", i)
		assert.Equal(t, "POST "+body, r.get("h", post(body)).body, "nothing was sent: any method may be tried again")
	}
	got := r.get("alone")
	assert.Equal(t, http.StatusBadGateway, got.status)
	assert.Equal(t, "endpoint_failure", got.header.Get("X-Cf-RouterError"))
	assert.NotContains(t, got.body, dead)
}

// breaker is an endpoint that reads a request and closes the connection; it counts.
func breaker(t *testing.T, count *atomic.Int32) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				count.Add(1)
			}
			conn.Close()
		}
	})
	t.Cleanup(func() { listener.Close(); serving.Wait() })
	return listener.Addr().String()
}

func TestBrokenConnection(t *testing.T) {
	var broken atomic.Int32
	r := start(t, router.Config{})
	r.register(breaker(t, &broken), "", "h", "deadly")
	r.register(says(t, "ok"), "", "h")
	for range 4 {
		assert.Equal(t, "ok", r.get("h").body)
	}
	assert.Positive(t, broken.Load())

	statuses := map[int]int{}
	for range 4 {
		statuses[r.get("h", post("x")).status]++
	}
	assert.Equal(t, map[int]int{200: 2, 502: 2}, statuses, "a POST may have been acted upon")

	for range 3 {
		r.register(breaker(t, &broken), "", "deadly")
	}
	broken.Store(0)
	assert.Equal(t, http.StatusBadGateway, r.get("deadly").status)
	assert.EqualValues(t, 2, broken.Load(), "a request that kills does not go round all instances")
}

// The connection was idle and is closed by an endpoint that goes on listening.
func TestIdleConnectionClosedByTheEndpoint(t *testing.T) {
	r := start(t, router.Config{})
	var conns sync.Map
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }),
		ConnState: func(c net.Conn, _ http.ConnState) { conns.Store(c, true) },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() { server.Close(); <-served }()
	r.register(listener.Addr().String(), "", "h")
	for range 20 {
		assert.Equal(t, "ok", r.get("h").body)
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		conns.Clear()
	}
}

// app starts an instance and returns its address and what ends it gracefully.
func app(t *testing.T, handler http.HandlerFunc) (addr string, shutdown func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: handler}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return listener.Addr().String(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, server.Shutdown(ctx))
		<-served
	}
}

// An instance is replaced again and again, and ends at once when its route is gone, while clients go on asking: none of
// them sees an error.
func TestReplacementUnderLoad(t *testing.T) {
	r := start(t, router.Config{})
	instance := func(name string) (addr string, shutdown func()) {
		return app(t, func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(30 * time.Millisecond) // the work of the app
			fmt.Fprint(w, name)
		})
	}
	addr, shutdown := instance("0")
	current := r.register(addr, "0", "h")

	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var mu sync.Mutex
	served := map[string]int{}
	for range 8 {
		clients.Go(func() {
			for ctx.Err() == nil {
				got, err := r.try("h")
				if !assert.NoError(t, err) || !assert.Equal(t, 200, got.status, got.body) {
					return
				}
				mu.Lock()
				served[got.body]++
				mu.Unlock()
			}
		})
	}
	done := func(name string) bool { mu.Lock(); defer mu.Unlock(); return served[name] >= 16 }
	for generation := 1; generation <= 4; generation++ {
		soon(t, "the present instance serves", func() bool { return done(fmt.Sprint(generation - 1)) })
		nextAddr, nextShutdown := instance(fmt.Sprint(generation))
		next := r.register(nextAddr, fmt.Sprint(generation), "h")
		r.unregister(current)
		shutdown() // waits for what is in flight
		current, shutdown = next, nextShutdown
	}
	soon(t, "the last instance serves", func() bool { return done("4") })
	cancel()
	clients.Wait()
	shutdown()
}

func TestRequestInFlightEndsAfterUnregister(t *testing.T) {
	r := start(t, router.Config{})
	entered, release := make(chan struct{}), make(chan struct{})
	addr, shutdown := app(t, func(w http.ResponseWriter, req *http.Request) {
		close(entered)
		<-release
		_, _ = io.Copy(w, req.Body)
	})
	old := r.register(addr, "old", "h")
	var asking sync.WaitGroup
	asking.Go(func() {
		got, err := r.try("h", post("order"))
		assert.NoError(t, err)
		assert.Equal(t, "order", got.body)
	})
	<-entered
	r.register(says(t, "new"), "new", "h")
	r.unregister(old)
	assert.Equal(t, "new", r.get("h", post("another")).body)
	assert.Equal(t, "new", r.get("h", post("another")).body)
	var ending sync.WaitGroup
	ending.Go(shutdown)
	close(release)
	asking.Wait()
	ending.Wait()
}

func TestStream(t *testing.T) {
	r := start(t, router.Config{})
	goOn := make(chan struct{})
	r.register(backend(t, func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprintln(w, "first")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-goOn:
			fmt.Fprintln(w, "second")
		case <-req.Context().Done():
		}
	}), "", "h")
	request, err := http.NewRequest(http.MethodGet, r.url, nil)
	require.NoError(t, err)
	request.Host = "h"
	response, err := r.client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	require.True(t, lines.Scan())
	assert.Equal(t, "first", lines.Text(), "before the answer is complete")
	close(goOn)
	require.True(t, lines.Scan())
	assert.Equal(t, "second", lines.Text())
}

// upgraded opens a connection through the router to an endpoint that echoes lines.
func upgraded(t *testing.T, r *rig) (net.Conn, *bufio.Reader) {
	t.Helper()
	r.register(backend(t, func(w http.ResponseWriter, req *http.Request) {
		conn, stream, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(stream, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", req.Header.Get("Upgrade"))
		_ = stream.Flush()
		_, _ = io.Copy(conn, stream)
	}), "", "h")
	conn, err := net.Dial("tcp", r.addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
	return conn, reader
}

func TestUpgrade(t *testing.T) {
	r := start(t, router.Config{})
	conn, reader := upgraded(t, r)
	for _, line := range []string{"ping\n", "pong\n"} {
		_, err := io.WriteString(conn, line)
		require.NoError(t, err)
		got, err := reader.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, line, got)
	}
	r.stop()
	_, err := reader.ReadByte()
	assert.ErrorIs(t, err, io.EOF, "the end of the router ends it")
}

func TestDrain(t *testing.T) {
	for name, tc := range map[string]struct {
		timeout time.Duration
		ok      bool
	}{"requests in flight end": {patience, true}, "or are cut": {50 * time.Millisecond, false}} {
		t.Run(name, func(t *testing.T) {
			r := start(t, router.Config{DrainTimeout: tc.timeout})
			entered, release := make(chan struct{}), make(chan struct{})
			r.register(backend(t, func(w http.ResponseWriter, req *http.Request) {
				close(entered)
				select {
				case <-release:
				case <-req.Context().Done():
				}
				fmt.Fprint(w, "done")
			}), "", "h")
			var got answer
			var err error
			var asking, stopping sync.WaitGroup
			asking.Go(func() { got, err = r.try("h") })
			<-entered
			stopping.Go(r.stop)
			soon(t, "no new connections are taken", func() bool {
				conn, err := net.Dial("tcp", r.addr)
				if err == nil {
					conn.Close()
				}
				return err != nil
			})
			if tc.ok {
				close(release)
			}
			asking.Wait()
			stopping.Wait()
			if tc.ok {
				require.NoError(t, err)
				assert.Equal(t, "done", got.body)
			} else {
				assert.True(t, err != nil || got.status == http.StatusBadGateway, "%v %v", err, got)
			}
		})
	}
}

func TestStickySession(t *testing.T) {
	r := start(t, router.Config{})
	instance := func(name string) string {
		return backend(t, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Query().Has("login") {
				http.SetCookie(w, &http.Cookie{Name: "JSESSIONID", Value: "s", MaxAge: 60, Secure: true})
			}
			fmt.Fprint(w, name)
		})
	}
	r.register(instance("a"), "id-a", "h")
	messageB := r.register(instance("b"), "id-b", "h")
	assert.Empty(t, r.get("h").header.Values("Set-Cookie")) // a's turn
	login := r.get("h", func(req *http.Request) { req.URL.RawQuery = "login" })
	require.Equal(t, "b", login.body)
	require.Len(t, login.header.Values("Set-Cookie"), 2)
	assert.Equal(t, "__VCAP_ID__=id-b; Path=/; Max-Age=60; HttpOnly; Secure", login.header.Values("Set-Cookie")[1])

	session := func(req *http.Request) { req.Header.Set("Cookie", "JSESSIONID=s; __VCAP_ID__=id-b") }
	for range 4 {
		assert.Equal(t, "b", r.get("h", session).body)
	}
	withoutSession := func(req *http.Request) { req.Header.Set("Cookie", "__VCAP_ID__=id-b") }
	assert.NotEqual(t, r.get("h", withoutSession).body, r.get("h", withoutSession).body)
	r.unregister(messageB)
	assert.Equal(t, "a", r.get("h", session).body, "gone: any other will do")
}

func TestRequestsThatAreRefused(t *testing.T) {
	r := start(t, router.Config{MaxHeaderBytes: 8 << 10, HeaderTimeout: 100 * time.Millisecond})
	r.register(says(t, "ok"), "", "h")
	for request, want := range map[string]string{
		"GET / HTTP/1.0\r\n\r\n":                                              "400",
		"GET / HTTP/1.1\r\n\r\n":                                              "400",
		"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n":                         "405",
		"GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 20<<10):      "431",
		"GET / HTTP/1.1\r\nHost: <script>\r\n\r\n":                            "400",
		"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2": "408", // never ends
	} {
		conn, err := net.Dial("tcp", r.addr)
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, _ = io.WriteString(conn, request)
		status, err := bufio.NewReader(conn).ReadString('\n')
		if !errors.Is(err, io.EOF) { // a header that never ends: closed without a word, or with a 408
			require.NoError(t, err)
			assert.Contains(t, status, want, "%.40q", request)
		} else {
			assert.Equal(t, "408", want, "%.40q", request)
		}
		conn.Close()
	}
}

func BenchmarkProxy(b *testing.B) {
	r := start(b, router.Config{})
	r.register(says(b, "ok"), "", "h")
	b.ReportAllocs()
	for b.Loop() {
		if got, err := r.try("h"); err != nil || got.status != 200 {
			b.Fatal(got, err)
		}
	}
}
