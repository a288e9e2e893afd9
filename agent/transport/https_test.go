package transport_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/agent/transport/seal"
	"github.com/deakit/deakit/internal/certtest"
	"github.com/deakit/deakit/messaging"
)

// site is an agent on HTTPS, and a client of it.
type site struct {
	t    testing.TB
	url  string
	http *http.Client
	dir  string // of blobs
	log  *logged
	stop func()
}

func newSite(t testing.TB, handler transport.Handler, change ...func(*transport.HTTPSConfig)) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), log: &logged{}}
	authority := certtest.NewAuthority(t, "ca")
	cert, key := authority.Issue(t.TempDir(), "agent")
	secure, err := transport.ServerTLS(transport.Certificates{Certificate: read(t, cert), PrivateKey: read(t, key)})
	require.NoError(t, err)
	root, err := os.OpenRoot(s.dir)
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	blobs, err := transport.NewDirBlobs(root)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := transport.HTTPSConfig{
		Listener: l, TLS: secure, User: url.UserPassword("vcap", "secret"), Blobs: blobs, Logger: slog.New(slog.NewTextHandler(s.log, nil)),
	}
	for _, c := range change {
		c(&cfg)
	}
	h, err := transport.NewHTTPS(cfg)
	require.NoError(t, err)
	s.stop = runs(t, h, handler)
	s.url = "https://" + l.Addr().String()
	s.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool()}}}
	t.Cleanup(s.http.CloseIdleConnections)
	return s
}

func (s *site) do(method, path, body string, change ...func(*http.Request)) (*http.Response, string) {
	s.t.Helper()
	request, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	require.NoError(s.t, err)
	request.SetBasicAuth("vcap", "secret")
	for _, c := range change {
		c(request)
	}
	response, err := s.http.Do(request)
	require.NoError(s.t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return response, string(data)
}

func TestHTTPS(t *testing.T) {
	s := newSite(t, pong)
	for request, want := range map[string]string{
		`{"method":"ping","arguments":[],"reply_to":"r.1"}`: `{"value":"pong"}`,
		`{"method":"ping"}`: `{"value":"pong"}`,
		`{"protocol":3,"method":"echo","arguments":[1.50],"x":0}`: `{"value":[1.50]}`,
		`{"method":"fail","reply_to":"$JS.not a subject"}`:        `{"exception":{"message":"failed"}}`,
	} {
		response, body := s.do(http.MethodPost, "/agent", request)
		assert.Equal(t, http.StatusOK, response.StatusCode, "exceptions too")
		assert.Equal(t, "application/json", response.Header.Get("Content-Type"))
		assert.Equal(t, want, body)
	}
	for _, bad := range []string{``, `{`, `null`, `[]`, `"ping"`, `{"method":7}`, `{"method":"ping","protocol":[]}`, "\x00"} {
		response, body := s.do(http.MethodPost, "/agent", bad)
		assert.Equal(t, http.StatusInternalServerError, response.StatusCode, bad)
		assert.Empty(t, body)
	}
	response, _ := s.do(http.MethodPost, "/agent", `{"method":"ping"}`)
	assert.Equal(t, http.StatusOK, response.StatusCode, "it goes on")
}

func TestHTTPSPaths(t *testing.T) {
	s := newSite(t, pong)
	for _, c := range []struct{ method, path string }{
		{http.MethodGet, "/agent"}, {http.MethodPut, "/agent"}, {http.MethodPost, "/agent/"}, {http.MethodPost, "/"}, {http.MethodPost, "/other"},
		{http.MethodGet, "/blobs"}, {http.MethodPost, "/blobs/x"}, {http.MethodDelete, "/blobs/x"},
	} {
		response, _ := s.do(c.method, c.path, `{"method":"ping"}`)
		assert.Equal(t, http.StatusNotFound, response.StatusCode, c)
	}
	stranger := func(r *http.Request) { r.Header.Del("Authorization") }
	response, _ := s.do(http.MethodPost, "/other", ``, stranger)
	assert.Equal(t, http.StatusNotFound, response.StatusCode)
}

// Credentials are asked for, and nobody is sent elsewhere, however a path is written.
func TestHTTPSPathsAreNotRedirected(t *testing.T) {
	s := newSite(t, pong)
	s.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	raw := func(path string, stranger bool) func(*http.Request) {
		return func(r *http.Request) {
			r.URL.Path = path
			if stranger {
				r.Header.Del("Authorization")
			}
		}
	}
	for _, path := range []string{"//agent", "/./agent", "/x/../agent", "/agent/", "/blobs", "//blobs/x", "/./blobs/x"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodGet} {
			response, _ := s.do(method, "/", `{"method":"ping"}`, raw(path, true))
			assert.Equal(t, http.StatusUnauthorized, response.StatusCode, "%s %s", method, path)
			response, body := s.do(method, "/", `{"method":"ping"}`, raw(path, false))
			assert.Equal(t, http.StatusNotFound, response.StatusCode, "%s %s", method, path)
			assert.NotContains(t, body, "pong")
		}
	}
	for _, path := range []string{"/blobs/", "/blobs//x", "/blobs/a/../x", "/blobs/..", "/blobs/."} {
		response, _ := s.do(http.MethodPut, "/", "content", raw(path, true))
		assert.Equal(t, http.StatusUnauthorized, response.StatusCode, path)
	}
	response, _ := s.do(http.MethodPut, "/", "last element", raw("/blobs/a/../x", false))
	assert.Equal(t, http.StatusCreated, response.StatusCode)
	assert.Equal(t, "last element", read(t, s.dir+"/x"))
	for _, path := range []string{"/blobs/", "/blobs/..", "/blobs/."} {
		response, body := s.do(http.MethodPut, "/", "content", raw(path, false))
		assert.Equal(t, http.StatusInternalServerError, response.StatusCode, "an id that cannot be is a failure, as in the original")
		assert.Contains(t, body, "blob id")
	}
}

func TestHTTPSAuthentication(t *testing.T) {
	s := newSite(t, pong)
	for name, change := range map[string]func(*http.Request){
		"none":           func(r *http.Request) { r.Header.Del("Authorization") },
		"wrong password": func(r *http.Request) { r.SetBasicAuth("vcap", "Secret") },
		"wrong user":     func(r *http.Request) { r.SetBasicAuth("root", "secret") },
		"empty":          func(r *http.Request) { r.SetBasicAuth("", "") },
		"bearer":         func(r *http.Request) { r.Header.Set("Authorization", "Bearer dmNhcDpzZWNyZXQ=") },
	} {
		for _, path := range []string{"/agent", "/blobs/x"} {
			response, body := s.do(http.MethodPost, path, `{"method":"ping"}`, change)
			assert.Equal(t, http.StatusUnauthorized, response.StatusCode, name)
			assert.Equal(t, `Basic realm=""`, response.Header.Get("WWW-Authenticate"))
			assert.Empty(t, body)
		}
	}
	open := newSite(t, pong, func(cfg *transport.HTTPSConfig) { cfg.User = nil })
	response, body := open.do(http.MethodPost, "/agent", `{"method":"ping"}`, func(r *http.Request) { r.Header.Del("Authorization") })
	assert.Equal(t, http.StatusOK, response.StatusCode)
	assert.Equal(t, `{"value":"pong"}`, body)
}

func TestHTTPSRequestsAreIndependent(t *testing.T) {
	begun, free := make(chan struct{}), make(chan struct{})
	s := newSite(t, func(ctx context.Context, r transport.Request) transport.Reply {
		if r.Method == "slow" {
			close(begun)
			<-free
		}
		return pong(ctx, r)
	})
	slow := make(chan string, 1)
	go func() {
		_, body := s.do(http.MethodPost, "/agent", `{"method":"slow","arguments":["late"]}`)
		slow <- body
	}()
	<-begun
	_, body := s.do(http.MethodPost, "/agent", `{"method":"ping"}`)
	assert.Equal(t, `{"value":"pong"}`, body)
	close(free)
	assert.Equal(t, `{"value":["late"]}`, <-slow)
}

// A flood of large requests is refused before it is read, whether it says its length or not, and others are taken when there is room.
func TestHTTPSFloodOfLargeRequests(t *testing.T) {
	begun, free := make(chan struct{}, 10), make(chan struct{})
	s := newSite(t, func(context.Context, transport.Request) transport.Reply {
		begun <- struct{}{}
		<-free
		return transport.Reply{Value: json.RawMessage(`"done"`)}
	}, func(cfg *transport.HTTPSConfig) { cfg.MaxInFlight = 1 << 20 })
	large := `{"method":"upload_blob","arguments":["` + strings.Repeat("x", 300<<10) + `"]}`
	replies := make(chan string, 3)
	for range 3 {
		go func() {
			_, body := s.do(http.MethodPost, "/agent", large)
			replies <- body
		}()
		<-begun
	}
	chunked := func(r *http.Request) { r.ContentLength = -1 }
	for _, change := range []func(*http.Request){func(*http.Request) {}, chunked} {
		response, body := s.do(http.MethodPost, "/agent", large, change)
		assert.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
		assert.Equal(t, "1", response.Header.Get("Retry-After"))
		assert.Equal(t, transport.ErrBusy.Error()+"\n", body)
	}
	close(free)
	for range 3 {
		assert.Equal(t, `{"value":"done"}`, <-replies)
	}
	for range 5 { // one after the other there is room
		require.Eventually(t, func() bool {
			_, body := s.do(http.MethodPost, "/agent", large, chunked)
			return body == `{"value":"done"}`
		}, 20*time.Second, time.Millisecond)
	}
}

// One request is taken whatever all may have together: it has a limit of its own.
func TestHTTPSOneLargeRequest(t *testing.T) {
	s := newSite(t, pong, func(cfg *transport.HTTPSConfig) { cfg.MaxInFlight = 100 })
	large := `{"method":"ping","arguments":["` + strings.Repeat("x", 300<<10) + `"]}`
	for _, length := range []int64{int64(len(large)), -1} {
		require.Eventually(t, func() bool { // the one before may be there for a moment still
			_, body := s.do(http.MethodPost, "/agent", large, func(r *http.Request) { r.ContentLength = length })
			return body == `{"value":"pong"}`
		}, 20*time.Second, time.Millisecond)
	}
}

// A client that goes away does not leave half of an action behind.
func TestHTTPSActionOutlivesItsClient(t *testing.T) {
	begun, gone := make(chan struct{}), make(chan struct{})
	outcome := make(chan error, 1)
	s := newSite(t, func(ctx context.Context, r transport.Request) transport.Reply {
		close(begun)
		<-gone
		outcome <- ctx.Err()
		return pong(ctx, r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/agent", strings.NewReader(`{"method":"ping"}`))
	require.NoError(t, err)
	request.SetBasicAuth("vcap", "secret")
	failed := make(chan error, 1)
	go func() {
		_, err := s.http.Do(request) //nolint:bodyclose // there is no answer
		failed <- err
	}()
	<-begun
	cancel()
	assert.ErrorIs(t, <-failed, context.Canceled)
	close(gone)
	assert.NoError(t, <-outcome)
}

func TestHTTPSBounds(t *testing.T) {
	s := newSite(t, pong, func(cfg *transport.HTTPSConfig) { cfg.MaxRequest, cfg.MaxBlob = 100, 1000 })
	response, _ := s.do(http.MethodPost, "/agent", `{"method":"echo","arguments":["`+strings.Repeat("x", 100)+`"]}`)
	assert.Equal(t, http.StatusRequestEntityTooLarge, response.StatusCode)
	response, _ = s.do(http.MethodPut, "/blobs/large", strings.Repeat("x", 1001))
	assert.Equal(t, http.StatusInternalServerError, response.StatusCode)
	entries, err := os.ReadDir(s.dir + "/tmp")
	require.NoError(t, err)
	assert.Empty(t, entries)
	assert.NoFileExists(t, s.dir+"/large")
	response, _ = s.do(http.MethodPut, "/blobs/large", strings.Repeat("x", 1000))
	assert.Equal(t, http.StatusCreated, response.StatusCode)

	// Replies have no limit here.
	long := newSite(t, func(context.Context, transport.Request) transport.Reply {
		return transport.Reply{Value: json.RawMessage(`"` + strings.Repeat("x", 3<<20) + `"`)}
	})
	_, body := long.do(http.MethodPost, "/agent", `{"method":"any"}`)
	assert.Len(t, body, 3<<20+len(`{"value":""}`))
}

// A peer that promises more than it sends is given up, and nothing of the blob is left.
func TestHTTPSBodyThatStandsStill(t *testing.T) {
	s := newSite(t, pong, func(cfg *transport.HTTPSConfig) { cfg.MaxTime = 50 * time.Millisecond })
	for _, path := range []string{"POST /agent", "PUT /blobs/x"} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, err)
		_, err = io.WriteString(conn, path+" HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dmNhcDpzZWNyZXQ=\r\nContent-Length: 10\r\n\r\n{")
		require.NoError(t, err)
		answer, err := io.ReadAll(conn)
		require.NoError(t, err)
		assert.Regexp(t, `^HTTP/1.1 (400|500) `, string(answer), path)
		conn.Close()
	}
	entries, err := os.ReadDir(s.dir + "/tmp")
	require.NoError(t, err)
	assert.Empty(t, entries)
	assert.NoFileExists(t, s.dir+"/x")
}

func TestHTTPSEncryption(t *testing.T) {
	keys := seal.Keys{Crypt: "c", Sign: "s"}
	s := newSite(t, pong, func(cfg *transport.HTTPSConfig) { cfg.Keys, cfg.AgentID = &keys, "A" })
	director := seal.NewSession(keys, "A")
	envelope, err := director.Seal([]byte(`{"method":"ping","arguments":[]}`))
	require.NoError(t, err)
	data, err := json.Marshal(envelope)
	require.NoError(t, err)
	response, body := s.do(http.MethodPost, "/agent", string(data))
	require.Equal(t, http.StatusOK, response.StatusCode)
	var reply messaging.AgentEnvelope
	require.NoError(t, json.Unmarshal([]byte(body), &reply))
	plain, err := director.Open(reply)
	require.NoError(t, err)
	assert.Contains(t, string(plain), `{"value":"pong","sequence_number":`)
	for _, bad := range []string{string(data), `{"method":"ping","arguments":[]}`} {
		response, body := s.do(http.MethodPost, "/agent", bad)
		assert.Equal(t, http.StatusInternalServerError, response.StatusCode)
		assert.Empty(t, body)
	}
}

func TestBlobs(t *testing.T) {
	s := newSite(t, pong)
	content := strings.Repeat("\x00\xff blob \r\n", 300000) // more than is written at a time
	response, body := s.do(http.MethodPut, "/blobs/a-1_B.tgz", content)
	assert.Equal(t, http.StatusCreated, response.StatusCode)
	assert.Empty(t, body)
	response, body = s.do(http.MethodGet, "/blobs/a-1_B.tgz", "")
	assert.Equal(t, http.StatusOK, response.StatusCode)
	assert.True(t, body == content)
	info, err := os.Stat(s.dir + "/a-1_B.tgz")
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode())

	response, _ = s.do(http.MethodPut, "/blobs/a-1_B.tgz", "new")
	assert.Equal(t, http.StatusCreated, response.StatusCode)
	_, body = s.do(http.MethodGet, "/blobs/a-1_B.tgz", "")
	assert.Equal(t, "new", body)
	response, _ = s.do(http.MethodPut, "/blobs/empty", "")
	assert.Equal(t, http.StatusCreated, response.StatusCode)
	response, body = s.do(http.MethodGet, "/blobs/empty", "")
	assert.Equal(t, http.StatusOK, response.StatusCode)
	assert.Empty(t, body)

	for _, id := range []string{"unknown", "tmp", "", "a%20b"} {
		response, _ := s.do(http.MethodGet, "/blobs/"+id, "")
		assert.Equal(t, http.StatusNotFound, response.StatusCode, id)
	}
	for _, id := range []string{"tmp", "", "a%20b", "a%00", "%c3%a4", strings.Repeat("a", 256)} {
		response, body := s.do(http.MethodPut, "/blobs/"+id, "x")
		assert.Equal(t, http.StatusInternalServerError, response.StatusCode, id)
		assert.Contains(t, body, "blob id")
	}
}

// Whatever the path says, nothing is read or written outside the directory.
func TestBlobsStayInTheirDirectory(t *testing.T) {
	s := newSite(t, pong)
	outside := s.dir + "-outside"
	require.NoError(t, os.WriteFile(outside, []byte("secret"), 0o600))
	require.NoError(t, os.Symlink(outside, s.dir+"/link"))
	require.NoError(t, os.Mkdir(s.dir+"/directory", 0o700))
	for _, path := range []string{"x/y/z", "x%2fy%2fz"} {
		response, _ := s.do(http.MethodPut, "/blobs/"+path, "last element")
		assert.Equal(t, http.StatusCreated, response.StatusCode, path)
		data, err := os.ReadFile(s.dir + "/z")
		require.NoError(t, err)
		assert.Equal(t, "last element", string(data))
		require.NoError(t, os.Remove(s.dir+"/z"))
	}
	for _, path := range []string{"..", "%2e%2e", "..%2f..%2f..", "x/..%2f..", "link", "directory"} {
		response, body := s.do(http.MethodGet, "/blobs/"+path, "")
		assert.NotEqual(t, http.StatusOK, response.StatusCode, path)
		assert.NotContains(t, body, "secret")
	}
	response, _ := s.do(http.MethodPut, "/blobs/..%2f..%2fz", "up")
	assert.Equal(t, http.StatusCreated, response.StatusCode)
	assert.FileExists(t, s.dir+"/z")
	response, _ = s.do(http.MethodPut, "/blobs/link", "mine")
	assert.Equal(t, http.StatusCreated, response.StatusCode)
	data, err := os.ReadFile(outside)
	require.NoError(t, err)
	assert.Equal(t, "secret", string(data), "the link was replaced, not followed")
	response, _ = s.do(http.MethodPut, "/blobs/directory", "x")
	assert.Equal(t, http.StatusInternalServerError, response.StatusCode)
}

// What a process that died left in tmp is gone with the next one.
func TestBlobsCleanUp(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+"/tmp/left", 0o700))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	blobs, err := transport.NewDirBlobs(root)
	require.NoError(t, err)
	assert.NoDirExists(t, dir+"/tmp/left")
	broken := errors.New("broken")
	require.ErrorIs(t, blobs.Put(t.Context(), "id", io.MultiReader(strings.NewReader("half"), failing{broken})), broken)
	entries, err := os.ReadDir(dir + "/tmp")
	require.NoError(t, err)
	assert.Empty(t, entries)
	assert.NoFileExists(t, dir+"/id")
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// unreliable is a blob store that breaks.
type unreliable struct{}

func (unreliable) Put(context.Context, string, io.Reader) error { return errors.New("disk is full") }
func (unreliable) Get(context.Context, string) (io.ReadCloser, int64, error) {
	return nil, 0, errors.New("disk is gone")
}

func TestBlobsThatBreak(t *testing.T) {
	s := newSite(t, pong, func(cfg *transport.HTTPSConfig) { cfg.Blobs = unreliable{} })
	response, body := s.do(http.MethodPut, "/blobs/x", "content")
	assert.Equal(t, http.StatusInternalServerError, response.StatusCode)
	assert.Equal(t, "disk is full\n", body)
	response, body = s.do(http.MethodGet, "/blobs/x", "")
	assert.Equal(t, http.StatusInternalServerError, response.StatusCode)
	assert.Equal(t, "disk is gone\n", body)
	none := newSite(t, pong, func(cfg *transport.HTTPSConfig) { cfg.Blobs = nil })
	response, _ = none.do(http.MethodPut, "/blobs/x", "content")
	assert.Equal(t, http.StatusNotFound, response.StatusCode)
}

// Old clients speak TLS 1.2 with RSA; today's speak 1.3. Nobody speaks less.
func TestServerTLS(t *testing.T) {
	certificates, err := transport.SelfSigned("127.0.0.1")
	require.NoError(t, err)
	secure, err := transport.ServerTLS(certificates)
	require.NoError(t, err)
	s := newSite(t, pong, func(cfg *transport.HTTPSConfig) { cfg.TLS = secure })
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM([]byte(certificates.CA)))
	for version, want := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), &tls.Config{RootCAs: pool, MinVersion: version, MaxVersion: version})
		assert.Equal(t, want, err == nil, "%x: %v", version, err)
		if err == nil {
			conn.Close()
		}
	}
	named, err := transport.SelfSigned("agent.example.com")
	require.NoError(t, err)
	_, err = transport.ServerTLS(named)
	require.NoError(t, err)
	_, err = transport.ServerTLS(transport.Certificates{Certificate: named.Certificate, PrivateKey: certificates.PrivateKey})
	assert.ErrorContains(t, err, "Loading configured tls certificate")
}

func TestHTTPSConfigThatCannotWork(t *testing.T) {
	_, err := transport.NewHTTPS(transport.HTTPSConfig{Keys: &seal.Keys{}})
	assert.ErrorContains(t, err, "crypt_key")
	h, err := transport.NewHTTPS(transport.HTTPSConfig{})
	require.NoError(t, err)
	assert.ErrorContains(t, h.Run(t.Context(), pong), "a listener and TLS are required")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	h, err = transport.NewHTTPS(transport.HTTPSConfig{Listener: l, TLS: &tls.Config{}})
	require.NoError(t, err)
	assert.Error(t, h.Run(t.Context(), pong))
}

// The handler serves in other servers too.
func TestHTTPHandler(t *testing.T) {
	h, err := transport.NewHTTPS(transport.HTTPSConfig{})
	require.NoError(t, err)
	server := httptest.NewServer(h.Handler(t.Context(), pong))
	defer server.Close()
	response, err := http.Post(server.URL+"/agent", "text/plain", bytes.NewReader([]byte(`{"method":"ping"}`)))
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	assert.Equal(t, `{"value":"pong"}`, string(body))
	http.DefaultClient.CloseIdleConnections()
}

// Requests have five seconds when the transport ends.
func TestOutlast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		life, cut := transport.Outlast(ctx)
		defer cut()
		cancel()
		time.Sleep(5*time.Second - time.Nanosecond)
		assert.NoError(t, life.Err())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.Error(t, life.Err())
		life, cut = transport.Outlast(ctx)
		synctest.Wait()
		assert.NoError(t, life.Err())
		cut()
		assert.Error(t, life.Err())
	})
}

// No secret is in the log, whatever comes.
func TestHTTPSLogHasNoSecrets(t *testing.T) {
	s := newSite(t, pong)
	s.do(http.MethodPost, "/agent", `{"method":"ping","arguments":["hush"]}`)
	s.do(http.MethodPost, "/agent", `{"method":"ping","arguments":["hush"`)
	s.do(http.MethodPost, "/agent", `{"method":{"hush":1}}`)
	s.stop()
	assert.NotContains(t, s.log.String(), "hush")
	assert.NotContains(t, s.log.String(), "secret")
	assert.NotContains(t, s.log.String(), "dmNhcDpzZWNyZXQ=")
}
