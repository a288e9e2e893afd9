package heartbeat_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/internal/certtest"
	"github.com/deakit/deakit/messaging"
)

type object = map[string]any

// A journal is a log whose lines can be waited for.
type journal chan object

func (j journal) Write(line []byte) (int, error) {
	var entry object
	if err := json.Unmarshal(line, &entry); err != nil {
		return 0, err
	}
	j <- entry
	return len(line), nil
}

func (j journal) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (j journal) next(t *testing.T) object {
	t.Helper()
	select {
	case entry := <-j:
		return entry
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is logged")
		return nil
	}
}

// A node is a DEA's side: its key and certificate, and the authority that it trusts.
type node struct {
	heartbeat.PosterConfig
	authority *certtest.Authority // that issued its certificate
	dir       string
	journal   journal
}

func newNode(t *testing.T) *node {
	n := &node{authority: certtest.NewAuthority(t, "deas"), dir: t.TempDir(), journal: make(journal, 100)}
	n.CertFile, n.KeyFile = n.authority.Issue(n.dir, "dea-0")
	n.Logger = n.journal.logger()
	return n
}

// run starts a Poster; what it returns ends it and waits for it. The end of the test does, too.
func (n *node) run(t *testing.T) (p *heartbeat.Poster, end func()) {
	t.Helper()
	p, err := heartbeat.NewPoster(n.PosterConfig)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	end = func() {
		cancel()
		assert.NoError(t, <-ended)
		ended <- nil // for a second call
	}
	t.Cleanup(end)
	return p, end
}

// serveTLS serves a handler as a health manager does: it wants a certificate that clients issued. The node is told where.
func (n *node) serveTLS(t *testing.T, handler http.Handler, clients *certtest.Authority) *httptest.Server {
	t.Helper()
	authority := certtest.NewAuthority(t, "hm")
	cert, key := authority.Issue(t.TempDir(), "hm")
	pair, err := tls.LoadX509KeyPair(cert, key)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients.Pool(),
	}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	n.URL, n.CAFile = server.URL, authority.File
	return server
}

// beat is a heartbeat of the DEA dea-0 with one instance that has this guid.
func beat(guid string) messaging.Heartbeat {
	return messaging.Heartbeat{DEA: "dea-0", Droplets: []messaging.Instance{{
		CCPartition: "default", Droplet: "app", Version: "v1", Instance: guid,
		State: messaging.Running, StateTimestamp: 1393629188.4127,
	}}}
}

func TestHeartbeatOverMutualTLS(t *testing.T) {
	n := newNode(t)
	monitor := heartbeat.NewMonitor(heartbeat.Config{})
	receiver := heartbeat.Receiver(monitor.Heartbeat, nil)
	requests := make(chan *http.Request, 10)
	n.serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		receiver.ServeHTTP(w, r)
		requests <- r
	}), n.authority)
	p, _ := n.run(t)
	var connection string
	for i := range 3 {
		p.Send(beat("guid"))
		entry := n.journal.next(t)
		assert.Equal(t, "hm9000.heartbeat.accepted", entry["msg"], entry)
		assert.Equal(t, n.URL+"/dea/heartbeat", entry["destination"])
		r := <-requests
		assert.Equal(t, "POST /dea/heartbeat", r.Method+" "+r.URL.Path)
		assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
		assert.Equal(t, "dea-0", r.TLS.PeerCertificates[0].Subject.CommonName)
		if i > 0 {
			assert.Equal(t, connection, r.RemoteAddr, "the connection is kept")
		}
		connection = r.RemoteAddr
	}
	known := monitor.Instances("app", time.Now())
	require.Len(t, known, 1)
	assert.Equal(t, "guid", known[0].Instance)
	assert.Equal(t, "dea-0", known[0].DEA)
}

func TestRefusalsAreLoggedAsWarnings(t *testing.T) {
	for _, test := range []struct {
		code           int
		body, response string
	}{
		{500, strings.Repeat("x", 100_000), strings.Repeat("x", 1024)},
		{400, "no", "no"},
		{200, "ok", "ok"},
		{http.StatusTemporaryRedirect, "elsewhere", "elsewhere"},
	} {
		n := newNode(t)
		n.serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/dea/heartbeat/again")
			w.WriteHeader(test.code)
			_, _ = io.WriteString(w, test.body)
		}), n.authority)
		n.URL = strings.Replace(n.URL, "https://", "https://user:secret@", 1)
		p, end := n.run(t)
		p.Send(beat("guid"))
		entry := n.journal.next(t)
		assert.Equal(t, "hm9000.heartbeat.failed", entry["msg"])
		assert.Equal(t, "WARN", entry["level"])
		assert.Equal(t, float64(test.code), entry["http_status"])
		assert.Equal(t, test.response, entry["http_response"])
		end()
		assert.Empty(t, n.journal, "nothing is tried again")
		assert.NotContains(t, fmt.Sprint(entry), "secret")
		assert.NotContains(t, fmt.Sprint(entry), "user")
	}
}

func TestStrangersAreNotTrusted(t *testing.T) {
	accept := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	for text, mistake := range map[string]func(*node){
		"unknown authority": func(n *node) { n.CAFile = certtest.NewAuthority(t, "stranger").File },
		"remote error: tls": func(n *node) { n.CertFile, n.KeyFile = certtest.NewAuthority(t, "stranger").Issue(n.dir, "x") },
		"not valid for any": func(n *node) { n.URL = strings.Replace(n.URL, "127.0.0.1", "localhost", 1) },
	} {
		n := newNode(t)
		n.serveTLS(t, accept, n.authority)
		mistake(n)
		p, _ := n.run(t)
		p.Send(beat("guid"))
		entry := n.journal.next(t)
		assert.Equal(t, "hm9000.heartbeat.failed", entry["msg"])
		assert.Equal(t, "ERROR", entry["level"])
		assert.Contains(t, entry["error"], text)
	}
}

func TestRenewedFilesAreUsed(t *testing.T) {
	n := newNode(t)
	names := make(chan string, 10)
	n.serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		names <- r.TLS.PeerCertificates[0].Subject.CommonName
		w.WriteHeader(http.StatusAccepted)
	}), n.authority)
	p, _ := n.run(t)
	p.Send(beat("guid"))
	assert.Equal(t, "dea-0", <-names)
	cert, key := n.authority.Issue(n.dir, "renewed")
	for _, move := range [][2]string{{key, n.KeyFile}, {cert, n.CertFile}} {
		require.NoError(t, os.Chtimes(move[0], time.Time{}, time.Now().Add(time.Hour)))
		require.NoError(t, os.Rename(move[0], move[1]))
	}
	p.Send(beat("guid"))
	assert.Equal(t, "renewed", <-names)
}

// blocking serves heartbeats that wait to be let through one by one; the guids come as they arrive.
func blocking(t *testing.T) (url string, arrived chan string, pass chan struct{}) {
	arrived, pass = make(chan string, 10), make(chan struct{}, 10)
	server := httptest.NewServer(heartbeat.Receiver(func(b messaging.Heartbeat, _ time.Time) {
		arrived <- b.Droplets[0].Instance
		<-pass
	}, nil))
	t.Cleanup(server.Close)
	return server.URL, arrived, pass
}

func TestNewerHeartbeatsReplaceOnesThatWait(t *testing.T) {
	url, arrived, pass := blocking(t)
	n := &node{PosterConfig: heartbeat.PosterConfig{URL: url}}
	p, end := n.run(t)
	p.Send(beat("1"))
	assert.Equal(t, "1", <-arrived)
	for _, guid := range []string{"2", "3", "4"} {
		p.Send(beat(guid)) // one is under way: none of these goes out before it is through
	}
	assert.Empty(t, arrived)
	pass <- struct{}{}
	assert.Equal(t, "4", <-arrived)
	pass <- struct{}{}
	end()
	assert.Empty(t, arrived)
}

func TestTheLastHeartbeatGoesOut(t *testing.T) {
	url, arrived, pass := blocking(t)
	p, err := heartbeat.NewPoster(heartbeat.PosterConfig{URL: url})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	p.Send(beat("under way"))
	assert.Equal(t, "under way", <-arrived)
	p.Send(beat("last"))
	cancel()
	pass <- struct{}{}
	assert.Equal(t, "last", <-arrived)
	assert.Empty(t, ended)
	pass <- struct{}{}
	assert.NoError(t, <-ended)
}

func TestEachStepHasItsTime(t *testing.T) {
	// A peer that takes connections and says nothing.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	large := beat("guid")
	large.Droplets[0].CCPartition = strings.Repeat("x", 32<<20) // more than the buffers of a connection hold
	n := newNode(t)
	for _, test := range []struct {
		scheme, cert, key, ca string
		beat                  messaging.Heartbeat
		text                  string
	}{
		{"https", n.CertFile, n.KeyFile, n.authority.File, beat("guid"), "(connecting took more than 50ms|TLS handshake timeout)"},
		{"http", "", "", "", large, "sending took more than 50ms"},
		{"http", "", "", "", beat("guid"), "receiving took more than 50ms"},
	} {
		n.PosterConfig = heartbeat.PosterConfig{
			URL: test.scheme + "://" + l.Addr().String(), CertFile: test.cert, KeyFile: test.key, CAFile: test.ca,
			Timeout: 50 * time.Millisecond, Logger: n.Logger,
		}
		p, end := n.run(t)
		p.Send(test.beat)
		entry := n.journal.next(t)
		assert.Equal(t, "ERROR", entry["level"])
		assert.Regexp(t, test.text, entry["error"])
		end()
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	n := newNode(t)
	n.PosterConfig = heartbeat.PosterConfig{URL: "http://user:secret@" + l.Addr().String(), Logger: n.Logger}
	p, _ := n.run(t)
	p.Send(beat("guid"))
	entry := n.journal.next(t)
	assert.Equal(t, "hm9000.heartbeat.failed", entry["msg"])
	assert.Contains(t, entry["error"], "connection refused")
	assert.NotContains(t, fmt.Sprint(entry), "secret")
}

func TestUserInfoOfTheURL(t *testing.T) {
	n := &node{journal: make(journal, 10)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user == "user" && password == "secret" && r.URL.Path == "/base/dea/heartbeat" {
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	defer server.Close()
	n.URL, n.Logger = strings.Replace(server.URL, "://", "://user:secret@", 1)+"/base/", n.journal.logger()
	p, _ := n.run(t)
	p.Send(beat("guid"))
	assert.Equal(t, "hm9000.heartbeat.accepted", n.journal.next(t)["msg"])
}

func TestPosterConfigIsChecked(t *testing.T) {
	n := newNode(t)
	n.URL, n.CAFile = "https://hm:5335", n.authority.File
	for text, mistake := range map[string]func(*heartbeat.PosterConfig){
		"of the form https://":                 func(c *heartbeat.PosterConfig) { c.URL = "" },
		"form https://host:port":               func(c *heartbeat.PosterConfig) { c.URL = "https://user:secret@hm:port" },
		"host:port":                            func(c *heartbeat.PosterConfig) { c.URL = "nats://hm:5335" },
		"which uses no KeyFile":                func(c *heartbeat.PosterConfig) { c.URL = "http://hm:5335" },
		"Invalid HM9000 Certs: a CA file must": func(c *heartbeat.PosterConfig) { c.CAFile = "" },
		"Invalid HM9000 Certs: a key file":     func(c *heartbeat.PosterConfig) { c.KeyFile = "" },
		"Invalid HM9000 Certs: CA file":        func(c *heartbeat.PosterConfig) { c.CAFile = c.KeyFile },
	} {
		cfg := n.PosterConfig
		mistake(&cfg)
		_, err := heartbeat.NewPoster(cfg)
		assert.ErrorContains(t, err, text)
		assert.NotContains(t, err.Error(), "secret")
	}
	cfg := n.PosterConfig
	cfg.KeyFile, cfg.CAFile = filepath.Join(n.dir, "a"), filepath.Join(n.dir, "b")
	_, err := heartbeat.NewPoster(cfg)
	assert.EqualError(t, err, "heartbeat: Invalid HM9000 Certs: One or more files not found: "+cfg.KeyFile+", "+cfg.CAFile)
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

// After the end there is one heartbeat more, however many come meanwhile.
func TestOneHeartbeatAfterTheEnd(t *testing.T) {
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		var p *heartbeat.Poster
		requests := 0 // one at a time
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests++
			cancel()
			p.Send(messaging.Heartbeat{DEA: "d", Droplets: []messaging.Instance{}})
			w.WriteHeader(http.StatusAccepted)
		}))
		var err error
		p, err = heartbeat.NewPoster(heartbeat.PosterConfig{URL: server.URL})
		require.NoError(t, err)
		p.Send(messaging.Heartbeat{DEA: "d", Droplets: []messaging.Instance{}})
		require.NoError(t, p.Run(ctx))
		server.Close()
		assert.Equal(t, 2, requests, "the one that was under way, and the last")
	}
}
