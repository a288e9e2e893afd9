package stager_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/messaging"
)

// completions records what is posted as the result of an app, and answers with the statuses in turn, then with 200.
type completions struct {
	mu       sync.Mutex
	statuses []int
	bodies   []map[string]any
}

func (c *completions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, err := io.ReadAll(r.Body)
	var body map[string]any
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || json.Unmarshal(data, &body) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.bodies = append(c.bodies, body)
	if len(c.statuses) > 0 {
		w.WriteHeader(c.statuses[0])
		c.statuses = c.statuses[1:]
	}
}

func (c *completions) got() []map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bodies
}

// byHTTP makes the stager post results to the cloud.
func byHTTP(c *completions) func(*site) {
	return func(s *site) {
		s.cfg.CallbackURL = s.cloud.url("/")
		s.cloud.handle("/internal/dea/staging/app-1/completed", c.ServeHTTP)
	}
}

func TestStagingByHTTP(t *testing.T) {
	results := &completions{statuses: []int{404, 500}}
	s := newSite(t, byHTTP(results))
	require.NoError(t, s.stager.Stage(s.request()))
	start := <-s.starts
	require.Len(t, results.got(), 3, "asked again after 404 and 500, and over before the app is started")
	s.idle()
	result := results.got()[2]
	assert.Equal(t, "0-stager", result["dea_id"])
	assert.Equal(t, "app-1", result["app_id"])
	assert.Equal(t, "task-1", result["task_id"])
	assert.Equal(t, start.SHA1, result["droplet_sha1"])
	assert.NotContains(t, result, "error")
}

// Whatever the Cloud Controller answers, or when nobody is there, the task ends after three attempts.
func TestResultThatNobodyTakes(t *testing.T) {
	results := &completions{statuses: []int{500, 503, 500, 500, 500}}
	s := newSite(t, byHTTP(results))
	require.NoError(t, s.stager.Stage(s.request()))
	<-s.starts
	s.idle()
	assert.Len(t, results.got(), 3)

	results.statuses = []int{400}
	require.NoError(t, s.stager.Stage(s.request()))
	<-s.starts
	s.idle()
	assert.Len(t, results.got(), 4, "400 is an answer")

	s = newSite(t, func(s *site) { s.cfg.CallbackURL = "http://user:secret@127.0.0.1:1" })
	require.NoError(t, s.stager.Stage(s.request()))
	<-s.starts
	s.idle()
	assert.Contains(t, s.log.String(), "staging.answer.failed")
	assert.NotContains(t, s.log.String(), "secret")
}

func TestRefusalsByHTTP(t *testing.T) {
	results := &completions{}
	s := newSite(t, byHTTP(results), func(s *site) {
		s.parts.Ledger = resources.NewLedger(resources.Capacity{MemoryBytes: 1 << 20, DiskBytes: 1 << 40})
	})
	require.NoError(t, s.stager.Stage(s.request()))
	soon(t, "told", func() bool { return len(results.got()) == 1 })
	assert.Equal(t, map[string]any{
		"task_id": "task-1", "app_id": "app-1", "dea_id": "0-stager", "error": "Not enough memory resources available",
	}, results.got()[0])

	r := s.request()
	r.AppID = ""
	assert.ErrorContains(t, s.stager.Stage(r), "app_id")
	s.stop()
	assert.ErrorContains(t, s.stager.Stage(s.request()), "leaving")

	s = newSite(t)
	assert.ErrorContains(t, s.stager.Stage(s.request()), "not configured")
}

func TestQueueOfAllStagers(t *testing.T) {
	s := newSite(t)
	inbox := nats.NewInbox()
	sub, err := s.conn.SubscribeSync(inbox)
	require.NoError(t, err)
	data, err := json.Marshal(s.request())
	require.NoError(t, err)
	require.NoError(t, s.conn.PublishRequest("staging", inbox, data))
	_, result := (&asker{s, sub}).both()
	assert.Empty(t, result.Error)
}

// What a process of this stager left is removed when the next one begins; what others have is not touched.
func TestLeftContainersAreRemoved(t *testing.T) {
	var ours, theirs container.Container
	newSite(t, func(s *site) {
		var err error
		ours, err = s.backend.Create(context.Background(), container.Spec{Properties: map[string]string{"owner": "stager " + s.cfg.BaseDir}})
		require.NoError(t, err)
		theirs, err = s.backend.Create(context.Background(), container.Spec{Properties: map[string]string{"owner": "stager of somebody else"}})
		require.NoError(t, err)
	})
	_, err := ours.Info(context.Background())
	assert.ErrorIs(t, err, container.ErrNotFound)
	require.NoError(t, theirs.Destroy(context.Background()))
}

// What a killed stager left may still be at work in its workspace, which can be emptied only after it has ended.
func TestLeftContainerThatWrites(t *testing.T) {
	var left string
	s := newSite(t, func(s *site) {
		left = filepath.Join(s.cfg.BaseDir, "staging", "left")
		require.NoError(t, os.MkdirAll(left, 0o755))
		c, err := s.backend.Create(context.Background(), container.Spec{Properties: map[string]string{"owner": "stager " + s.cfg.BaseDir}})
		require.NoError(t, err)
		_, err = c.Run(context.Background(), container.ProcessSpec{
			Path: "/bin/sh", Args: []string{"-c", `while :; do mkdir -p "$0/$i/a"; i=$((i+1)); done`, left},
		}, container.IO{})
		require.NoError(t, err)
		soon(t, "writing", func() bool { _, err := os.Stat(filepath.Join(left, "3", "a")); return err == nil })
	})
	assert.NoDirExists(t, left)
	_, result := s.ask(s.request()).both()
	assert.Empty(t, result.Error)
}

// The snapshot of a DEA tells of tasks from their request to their end.
func TestRecords(t *testing.T) {
	g := newGate(t)
	changes := make(chan struct{}, 100)
	s := newSite(t, func(s *site) { s.parts.Changed = func() { changes <- struct{}{} } })
	s.buildpack("slow", stagetest.Scripts("echo Slow", g.script(), `echo "default_process_types: {web: run}"`))
	request := s.request("slow")
	request.Properties.Services = messaging.Services{{Name: "logs", Label: "user-provided", SyslogDrainURL: json.RawMessage(`"syslog://drain:1"`)}}
	a := s.ask(request)
	soon(t, "compiling", g.begun)
	records := s.stager.Records()
	require.Len(t, records, 1)
	assert.Contains(t, string(records[0].StagingMessage), `"task_id":"task-1"`)
	require.NotNil(t, records[0].WardenContainerPath)
	assert.True(t, strings.HasPrefix(*records[0].WardenContainerPath, "/"))
	assert.Equal(t, []string{"syslog://drain:1"}, records[0].SyslogDrainURLs)
	assert.Len(t, changes, 2, "it came, and it got a container")
	g.open(t)
	a.both()
	assert.Empty(t, s.stager.Records())
	soon(t, "told", func() bool { return len(changes) == 3 })
}
