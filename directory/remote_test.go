package directory

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// front is a directory server before the file API at url.
func front(t *testing.T, cfg RemoteConfig) (string, *http.Client) {
	t.Helper()
	remote, err := NewRemote(cfg)
	require.NoError(t, err)
	t.Cleanup(remote.Close)
	server, err := NewServer(Config{Resolver: remote})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return serve(t, server)
}

func TestRemoteBeforeFileAPI(t *testing.T) {
	api, _, dir := fileAPI(t, signedAt)
	s := signerAt(t, signedAt, testKey)
	base, client := front(t, RemoteConfig{URL: api})

	resp, body := do(t, client, "GET", s.InstanceURL(base, "app", text("link/stdout.log")))
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "out", body)
	resp, body = do(t, client, "GET", s.StagingURL(base, "task", text("/l/logs")))
	assert.Equal(t, 200, resp.StatusCode)
	assert.Contains(t, body, "staging_task.log")
	resp, body = do(t, client, "GET", s.InstanceURL(base, "no", nil))
	assert.Equal(t, 404, resp.StatusCode)
	assert.JSONEq(t, `{"error":"Unknown instance"}`, body)

	require.NoError(t, os.Symlink(dir, dir+"/linked"))
	linked, client := front(t, RemoteConfig{URL: api, Under: dir + "/linked"})
	resp, _ = do(t, client, "GET", s.InstanceURL(linked, "app", nil))
	assert.Equal(t, 200, resp.StatusCode)

	// As far as this one goes, the whole file API is elsewhere.
	confined, client := front(t, RemoteConfig{URL: api, Under: filepath.Join(dir, "rootless")})
	resp, _ = do(t, client, "GET", s.InstanceURL(confined, "app", nil))
	assert.Equal(t, 403, resp.StatusCode)
}

func TestRemoteAnswers(t *testing.T) {
	dir := realTempDir(t)
	layout(t, dir, map[string]string{"file": "content", "link": "->file"})
	api, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/teapot":
			w.Header().Set("X-Kept", "yes")
			w.Header().Set("Content-Type", "text/tea")
			w.Header().Add("Connection", "X-Hop")
			w.Header().Set("X-Hop", "no")
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "short and stout")
		case "/redirect":
			http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusFound)
		case "/huge":
			_, _ = io.WriteString(w, `{"instance_path":"`+dir+`/file","padding":"`+strings.Repeat("x", maxAnswer)+`"}`)
		case "/hang":
			<-r.Context().Done()
		case "/json":
			_, _ = io.WriteString(w, strings.ReplaceAll(r.URL.Query().Get("body"), "DIR", dir))
		}
	}))
	base, client := front(t, RemoteConfig{URL: api, Timeout: time.Minute})
	impatient, _ := front(t, RemoteConfig{URL: api, Timeout: 100 * time.Millisecond})
	resp, body := do(t, client, "GET", impatient+"/hang")
	assert.Equal(t, 500, resp.StatusCode)
	assert.Equal(t, "DEA is unreachable\n", body)

	const invalid = "DEA responded with invalid JSON\n"
	for _, c := range []struct {
		target string
		status int
		body   string
	}{
		{"/teapot", 418, "short and stout"},
		{"/redirect", 302, "<a href=\"http://127.0.0.1:1/elsewhere\">Found</a>.\n\n"},
		{"/huge", 500, invalid},
		{"/json?body=", 500, invalid},
		{"/json?body=nonsense", 500, invalid},
		{`/json?body=[]`, 500, invalid},
		{`/json?body={}`, 500, invalid},
		{`/json?body={"instance_path":7}`, 500, invalid},
		{`/json?body={"instance_path":null}`, 500, invalid},
		{`/json?body={"Instance_Path":"DIR/file"}`, 500, invalid},
		{`/json?body={"instance_path":"file"}`, 500, invalid},
		{`/json?body={"instance_path":"DIR/file"}`, 200, "content"},
		{`/json?body={"instance_path":"DIR/gone"}`, 400, "Entity not found.\n"},
		{`/json?body={"instance_path":"DIR/link"}`, 403, `{"error":"Not accessible"}`},
	} {
		resp, body := do(t, client, "GET", base+c.target)
		assert.Equal(t, c.status, resp.StatusCode, c.target)
		assert.Equal(t, c.body, body, c.target)
		switch {
		case c.status == 500:
			assert.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"), c.target)
		case c.status == 400:
			assert.Equal(t, "text/plain", resp.Header.Get("Content-Type"))
			assert.Equal(t, "pass", resp.Header.Get("X-Cascade"))
			assert.EqualValues(t, 18, resp.ContentLength)
		case c.target == "/teapot":
			assert.Equal(t, "text/tea", resp.Header.Get("Content-Type"))
			assert.Equal(t, "yes", resp.Header.Get("X-Kept"))
			assert.Empty(t, resp.Header.Get("X-Hop"))
		case c.target == "/redirect":
			assert.Equal(t, "http://127.0.0.1:1/elsewhere", resp.Header.Get("Location"))
		}
	}
}

// A status that net/http would not send, or not as the end of an answer, is no answer.
func TestRemoteOddStatus(t *testing.T) {
	for _, status := range []string{"000", "099", "101", "999", "600"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		served := make(chan struct{})
		go func() {
			defer close(served)
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, err = http.ReadRequest(bufio.NewReader(conn))
				assert.NoError(t, err)
				_, _ = io.WriteString(conn, "HTTP/1.1 "+status+" Odd\r\nContent-Length: 3\r\nConnection: close\r\n\r\nodd")
				_ = conn.Close()
			}
		}()
		base, client := front(t, RemoteConfig{URL: "http://" + l.Addr().String()})
		resp, body := do(t, client, "GET", base+"/instance_paths/app?hmac=x")
		if status < "200" {
			assert.Equal(t, 500, resp.StatusCode, status)
			assert.Equal(t, "DEA is unreachable\n", body)
		} else {
			assert.Equal(t, status, strconv.Itoa(resp.StatusCode))
			assert.Equal(t, "odd", body)
		}
		require.NoError(t, l.Close())
		<-served
	}
}

// Nor is it when it comes from a Resolver of another kind.
func TestAnswerWithOddStatus(t *testing.T) {
	for _, status := range []int{-1, 0, 99, 100, 101, 1000} {
		server, err := NewServer(Config{Resolver: resolverFunc(func() (Location, error) { return Location{}, &Answer{Status: status} })})
		require.NoError(t, err)
		w := httptest.NewRecorder()
		server.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		assert.Equal(t, 500, w.Code, status)
	}
}

type resolverFunc func() (Location, error)

func (f resolverFunc) Resolve(context.Context, *http.Request) (Location, error) { return f() }

func TestRemoteUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := l.Addr().String()
	require.NoError(t, l.Close())
	base, client := front(t, RemoteConfig{URL: "http://" + nobody})
	resp, body := do(t, client, "GET", base+"/instance_paths/app?hmac=secret")
	assert.Equal(t, 500, resp.StatusCode)
	assert.Equal(t, "DEA is unreachable\n", body)
	assert.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))
}

// The error goes to a log, and must not carry the signature there.
func TestRemoteErrorHasNoQuery(t *testing.T) {
	remote, err := NewRemote(RemoteConfig{URL: "http://127.0.0.1:1"})
	require.NoError(t, err)
	req, err := http.NewRequest("GET", "http://x/instance_paths/app?hmac=secret", nil)
	require.NoError(t, err)
	_, err = remote.Resolve(t.Context(), req)
	require.ErrorIs(t, err, ErrUnreachable)
	assert.NotContains(t, err.Error(), "secret")
}

// Path and query arrive as they were sent; header, host and method do not.
func TestRemoteSendsTheTargetOnly(t *testing.T) {
	type seen struct{ method, target, host, auth, rng string }
	got := make(chan seen, 1)
	api, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- seen{r.Method, r.RequestURI, r.Host, r.Header.Get("Authorization"), r.Header.Get("Range")}
		w.WriteHeader(http.StatusNotFound)
	}))
	base, _ := front(t, RemoteConfig{URL: api})
	address, host := strings.TrimPrefix(base, "http://"), strings.TrimPrefix(api, "http://")
	for _, target := range []string{
		"/instance_paths/a%2Fb%7e?path=%2flogs/x+y&&timestamp=1;tail&hmac=", "/", "/a?", "//evil.example/x?a=b", "/a//b/../c",
	} {
		assert.Contains(t, raw(t, address, "GET", target), "404")
		assert.Equal(t, seen{"GET", target, host, "", ""}, <-got)
	}
	// An absolute form names another host; it is not asked.
	assert.Contains(t, raw(t, address, "HEAD", "http://evil.example/instance_paths/app?path"), "404")
	assert.Equal(t, seen{"GET", "/instance_paths/app?path", host, "", ""}, <-got)
}

// raw sends a request as it stands and returns the answer.
func raw(t *testing.T, address, method, target string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: front.example\r\nAuthorization: bearer x\r\nRange: bytes=0-1\r\nConnection: close\r\n\r\n",
		method, target)
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	return string(answer)
}

func TestRemoteReusesConnections(t *testing.T) {
	dir := realTempDir(t)
	layout(t, dir, map[string]string{"file": "content"})
	var conns atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	api := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/no" {
				w.WriteHeader(http.StatusNotFound)
			}
			_, _ = io.WriteString(w, `{"instance_path":"`+dir+`/file"}`)
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				conns.Add(1)
			}
		},
	}
	served := make(chan error, 1)
	go func() { served <- api.Serve(l) }()
	defer func() {
		_ = api.Close()
		<-served
	}()
	base, client := front(t, RemoteConfig{URL: "http://" + l.Addr().String()})
	for range 20 {
		do(t, client, "GET", base+"/yes")
		do(t, client, "GET", base+"/no")
	}
	assert.EqualValues(t, 1, conns.Load())
}

func TestRemoteConfig(t *testing.T) {
	for _, cfg := range []RemoteConfig{{}, {URL: "127.0.0.1:80"}, {URL: "ftp://127.0.0.1"}, {URL: "http://"},
		{URL: "http://127.0.0.1:1", Timeout: -1}} {
		_, err := NewRemote(cfg)
		assert.Error(t, err, "%+v", cfg)
	}
	_, err := NewRemote(RemoteConfig{URL: "http://user:pa%zzss@127.0.0.1"})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "pa")
}

// The file API named a path; before it is opened, the app puts a link in its place.
func TestRemoteSwap(t *testing.T) {
	dir := realTempDir(t)
	layout(t, dir, map[string]string{"root/logs/f": "public", "outside/f": "secret"})
	api, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := os.Rename(dir+"/root/logs", dir+"/root/old"); err == nil {
			_ = os.Symlink(dir+"/outside", dir+"/root/logs")
		}
		_, _ = io.WriteString(w, `{"instance_path":"`+dir+`/root/logs/f"}`)
	}))
	base, client := front(t, RemoteConfig{URL: api})
	resp, body := do(t, client, "GET", base+"/instance_paths/app?path=logs/f")
	assert.NotEqual(t, 200, resp.StatusCode)
	assert.NotContains(t, body, "secret")
}

// A client that has lost its way with escaping puts the query into the path. What is logged of a failure has no signature then,
// either.
func TestFailuresAreLoggedWithoutSignature(t *testing.T) {
	var lines bytes.Buffer
	log := slog.New(slog.NewTextHandler(&lines, nil))
	remote, err := NewRemote(RemoteConfig{URL: "http://127.0.0.1:1"}) // where nobody listens
	require.NoError(t, err)
	defer remote.Close()
	server, err := NewServer(Config{Resolver: remote, Logger: log})
	require.NoError(t, err)
	defer server.Close()
	s := signerAt(t, signedAt, testKey)
	target := strings.Replace(s.InstanceURL("", "app", text("log")), "?", "%3F", 1)
	answer := httptest.NewRecorder()
	server.ServeHTTP(answer, httptest.NewRequest("GET", target, nil))
	assert.Equal(t, 500, answer.Code)
	assert.Contains(t, lines.String(), "directory request failed")
	assert.NotContains(t, lines.String(), "hmac")
	assert.NotContains(t, answer.Body.String(), "hmac")
}
