package stager_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/stager"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long to wait for what has to come, on machines that have much else to do.
const patience = 2 * time.Minute

func soon(t testing.TB, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, patience, 2*time.Millisecond, what)
}

// A cloud is the Cloud Controller's side of HTTP. Every request needs the user info user:secret.
type cloud struct {
	*httptest.Server
	mu       sync.Mutex
	files    map[string][]byte           // GET
	handlers map[string]http.HandlerFunc // before files
	posts    map[string]post
	gets     map[string]int
}

// A post is an upload as it arrived.
type post struct {
	query, field, fileName string
	length                 int64
	data                   []byte
}

func newCloud(t testing.TB) *cloud {
	c := &cloud{files: map[string][]byte{}, handlers: map[string]http.HandlerFunc{}, posts: map[string]post{}, gets: map[string]int{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); user != "user" || password != "secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	c.mu.Lock()
	handler := c.handlers[r.URL.Path]
	file, found := c.files[r.URL.Path]
	if r.Method == http.MethodGet {
		c.gets[r.URL.Path]++
	}
	c.mu.Unlock()
	switch {
	case handler != nil:
		handler(w, r)
	case r.Method == http.MethodPost:
		c.receive(w, r)
	case found:
		_, _ = w.Write(file)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (c *cloud) receive(w http.ResponseWriter, r *http.Request) {
	form, err := r.MultipartReader()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	part, err := form.NextPart()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	data, err := io.ReadAll(part)
	if _, more := form.NextPart(); err != nil || more != io.EOF {
		http.Error(w, "more than one part", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.posts[r.URL.Path] = post{r.URL.RawQuery, part.FormName(), part.FileName(), r.ContentLength, data}
}

func (c *cloud) serve(path string, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files[path] = data
}

func (c *cloud) handle(path string, h http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handlers[path] = h
}

func (c *cloud) posted(path string) post {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.posts[path]
}

func (c *cloud) got(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gets[path]
}

// url returns the URL of a path with user info.
func (c *cloud) url(path string) string {
	return strings.Replace(c.URL, "://", "://user:secret@", 1) + path
}

// A site is a stager with all that it works with.
type site struct {
	t       testing.TB
	cloud   *cloud
	server  *messagingtest.Server
	conn    *nats.Conn // the Cloud Controller's
	cfg     stager.Config
	parts   stager.Parts
	stager  *stager.Stager
	backend container.Backend
	log     *safeBuffer
	end     context.CancelFunc
	ended   chan struct{}
	starts  chan messaging.StartMessage
	rooms   chan resources.Amount // for instance 0
}

// safeBuffer collects what the stager logs.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newSite prepares a stager that configure may still change; start starts it.
func newSite(t testing.TB, configure ...func(*site)) *site {
	s := &site{t: t, cloud: newCloud(t), server: messagingtest.NewServer(t), log: &safeBuffer{}, starts: make(chan messaging.StartMessage, 1000), rooms: make(chan resources.Amount, 1000)}
	s.backend = stagetest.Backend(t)
	base := t.TempDir()
	store, err := buildpack.OpenStore(filepath.Join(base, "admin_buildpacks"), buildpack.StoreOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, store.Close()) })
	droplets, err := droplet.NewStore(filepath.Join(base, "droplets"), droplet.StoreOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, droplets.Close()) })
	s.cfg = stager.Config{
		ID: "0-stager", BaseDir: base, LogLinger: time.Millisecond, PollInterval: time.Millisecond,
		AdvertiseInterval: 50 * time.Millisecond, Git: buildpack.GitOptions{Schemes: []string{"http", "file"}},
	}
	s.parts = stager.Parts{
		Conn: s.server.Connect(), Backend: s.backend, Buildpacks: store, Droplets: droplets,
		Ledger: resources.NewLedger(resources.Capacity{MemoryBytes: 8192 << 20, DiskBytes: 65536 << 20}),
		Start: func(m messaging.StartMessage, r *resources.Reservation) {
			s.rooms <- r.Amount()
			r.Release()
			s.starts <- m
		},
		Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	s.conn = s.server.Connect()
	for _, c := range configure {
		c(s)
	}
	soon(t, "connected", func() bool { return s.conn.IsConnected() && s.parts.Conn.IsConnected() })
	s.stager, err = stager.New(s.cfg, s.parts)
	require.NoError(t, err)
	s.start()
	s.cloud.serve("/package", stagetest.Files{"hello.txt": "hello"}.Zip(t))
	s.buildpack("ok", hello)
	return s
}

func (s *site) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.end, s.ended = cancel, make(chan struct{})
	heard := make(chan *nats.Msg, 1000)
	sub, err := s.conn.ChanSubscribe(string(messaging.StagingAdvertise), heard)
	require.NoError(s.t, err)
	require.NoError(s.t, s.conn.Flush())
	go func() {
		defer close(s.ended)
		assert.NoError(s.t, s.stager.Run(ctx))
	}()
	s.t.Cleanup(s.stop)
	if !s.cfg.NoAdvertise {
		<-heard // it is subscribed before it advertises
		require.NoError(s.t, s.parts.Conn.Flush())
	}
	require.NoError(s.t, sub.Unsubscribe())
}

func (s *site) stop() {
	s.end()
	<-s.ended
}

var hello = stagetest.Scripts("echo Hello", "echo compiling", `echo "default_process_types: {web: run hello}"`)

func (s *site) buildpack(key string, files stagetest.Files) {
	s.cloud.serve("/buildpacks/"+key, files.Zip(s.t))
}

// request is one that succeeds, with the admin buildpacks of these keys.
func (s *site) request(keys ...string) messaging.StagingRequest {
	if len(keys) == 0 {
		keys = []string{"ok"}
	}
	r := messaging.StagingRequest{
		AppID: "app-1", TaskID: "task-1", DownloadURI: s.cloud.url("/package"), UploadURI: s.cloud.url("/droplet?x=y"),
		BuildpackCacheUploadURI: s.cloud.url("/cache"),
		StartMessage: json.RawMessage(`{"index":0,"droplet":"app-1","name":"web","version":"v1","uris":["web.example.com"],
			"limits":{"mem":256,"disk":1024,"fds":64},"services":[],"env":[],"cc_partition":"default","sha1":null,"executableUri":null,"other":"kept"}`),
	}
	for _, key := range keys {
		r.AdminBuildpacks = append(r.AdminBuildpacks, messaging.AdminBuildpack{Key: key, URL: s.cloud.url("/buildpacks/" + key)})
	}
	return r
}

// An asker waits for the answers to one request.
type asker struct {
	s   *site
	sub *nats.Subscription
}

// ask sends a request; one that is text is sent as it is.
func (s *site) ask(request any) *asker {
	s.t.Helper()
	inbox := nats.NewInbox()
	sub, err := s.conn.SubscribeSync(inbox)
	require.NoError(s.t, err)
	var data []byte
	switch r := request.(type) {
	case string:
		data = []byte(r)
	case messaging.StagingRequest:
		data, err = messaging.StagingStart(s.cfg.ID).Encode(r)
		require.NoError(s.t, err)
	}
	require.NoError(s.t, s.conn.PublishRequest("staging."+s.cfg.ID+".start", inbox, data))
	require.NoError(s.t, s.conn.Flush())
	return &asker{s, sub}
}

// next returns the next answer and the keys that it has on the wire.
func (a *asker) next() (messaging.StagingAnswer, map[string]json.RawMessage) {
	a.s.t.Helper()
	msg, err := a.sub.NextMsg(patience)
	require.NoError(a.s.t, err)
	answer, err := messaging.StagingStart("x").DecodeAnswer(msg.Data)
	require.NoError(a.s.t, err)
	var keys map[string]json.RawMessage
	require.NoError(a.s.t, json.Unmarshal(msg.Data, &keys))
	return answer, keys
}

// both returns the two answers, and fails when a third one comes before the task is gone.
func (a *asker) both() (setup, result messaging.StagingAnswer) {
	a.s.t.Helper()
	setup, _ = a.next()
	result, _ = a.next()
	a.noMore()
	return setup, result
}

// noMore waits until all tasks are over, and fails when there is one more answer.
func (a *asker) noMore() {
	a.s.t.Helper()
	a.s.idle()
	n, _, err := a.sub.Pending()
	require.NoError(a.s.t, err)
	require.Zero(a.s.t, n, "answers too many")
	require.NoError(a.s.t, a.sub.Unsubscribe())
}

// idle waits until no task is at work, and fails if one has left something.
func (s *site) idle() {
	s.t.Helper()
	soon(s.t, "no task", func() bool { return s.stager.Tasks() == 0 })
	require.NoError(s.t, s.parts.Conn.Flush())
	require.NoError(s.t, s.conn.Flush())
	handles, err := s.backend.List(context.Background())
	require.NoError(s.t, err)
	assert.Empty(s.t, handles, "containers")
	assert.Zero(s.t, s.parts.Ledger.Reserved())
	soon(s.t, "no workspace", func() bool {
		entries, err := os.ReadDir(filepath.Join(s.cfg.BaseDir, "staging"))
		return err == nil && len(entries) == 0
	})
}

// stage sends a request that succeeds and returns the last answer.
func (s *site) stage(request messaging.StagingRequest) messaging.StagingAnswer {
	s.t.Helper()
	setup, result := s.ask(request).both()
	require.Empty(s.t, setup.Error)
	require.Empty(s.t, result.Error, s.log.String())
	return result
}

// gate is a file that a script waits for, after it has said so with another one.
type gate struct{ dir string }

func newGate(t testing.TB) gate { return gate{t.TempDir()} }

func (g gate) script() string {
	return fmt.Sprintf("touch %[1]s/begun; while ! test -e %[1]s/open; do sleep 0.01; done", g.dir)
}

func (g gate) begun() bool {
	_, err := os.Stat(filepath.Join(g.dir, "begun"))
	return err == nil
}

func (g gate) open(t testing.TB) {
	require.NoError(t, os.WriteFile(filepath.Join(g.dir, "open"), nil, 0o644))
}
