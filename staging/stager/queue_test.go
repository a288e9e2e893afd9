package stager_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
	"github.com/deakit/deakit/staging/framework"
	"github.com/deakit/deakit/staging/stager"
)

// A plant is a stager of queues with all that it works with.
type plant struct {
	t      testing.TB
	cloud  *cloud
	server *messagingtest.Server
	conn   *nats.Conn // the Cloud Controller's
	cfg    stager.QueueConfig
	parts  stager.QueueParts
	queue  *stager.Queue
	log    *safeBuffer
	end    context.CancelFunc
	ended  chan struct{}
}

// newPlant prepares and starts a stager, which configure may change first.
func newPlant(t testing.TB, configure ...func(*plant)) *plant {
	p := &plant{t: t, cloud: newCloud(t), server: messagingtest.NewServer(t), log: &safeBuffer{}}
	p.cfg = stager.QueueConfig{BaseDir: t.TempDir()}
	p.conn = p.server.Connect()
	p.parts = stager.QueueParts{
		Conn: p.server.Connect(), Backend: stagetest.Backend(t),
		Logger: slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range configure {
		c(p)
	}
	p.cloud.serve("/app", stagetest.Files{"app.rb": "require 'sinatra'\n", ".hidden": "h"}.Zip(t))
	soon(t, "connected", func() bool { return p.conn.IsConnected() && p.parts.Conn.IsConnected() })
	p.start()
	return p
}

func (p *plant) start() {
	var err error
	p.queue, err = stager.NewQueue(p.cfg, p.parts)
	require.NoError(p.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	p.end, p.ended = cancel, make(chan struct{})
	go func() {
		defer close(p.ended)
		assert.NoError(p.t, p.queue.Run(ctx))
	}()
	p.t.Cleanup(p.stop)
	soon(p.t, "running", func() bool { return strings.Contains(p.log.String(), "Server running") })
}

func (p *plant) stop() {
	p.end()
	<-p.ended
}

// onRunning calls a function when the stager says that it runs.
type onRunning struct {
	slog.Handler
	do func()
}

func (h onRunning) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "Server running" {
		h.do()
	}
	return h.Handler.Handle(ctx, r)
}

// TestRunningMeansListening: who asks when the stager says that it runs is heard.
func TestRunningMeansListening(t *testing.T) {
	for range 20 {
		answers := make(chan *nats.Msg, 1)
		newPlant(t, func(p *plant) {
			inbox := nats.NewInbox()
			_, err := p.conn.ChanSubscribe(inbox, answers)
			require.NoError(t, err)
			ask := func() {
				assert.NoError(t, errors.Join(p.conn.PublishRequest("staging", inbox, []byte(`{}`)), p.conn.Flush()))
			}
			p.parts.Logger = slog.New(onRunning{p.parts.Logger.Handler(), ask})
		})
		assert.Contains(t, string((<-answers).Data), "download_uri is required", "not the server's word that nobody listens")
	}
}

// TestServerThatIsNotThereYet: a stager does not claim to run as long as nobody can ask it.
func TestServerThatIsNotThereYet(t *testing.T) {
	log := &safeBuffer{}
	conn, err := messaging.Connect(messaging.Config{Servers: []string{"nats://127.0.0.1:1"}})
	require.NoError(t, err)
	defer conn.Close()
	queue, err := stager.NewQueue(stager.QueueConfig{BaseDir: t.TempDir()}, stager.QueueParts{
		Conn: conn, Backend: stagetest.Backend(t), Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- queue.Run(ctx) }()
	soon(t, "waiting", func() bool { return strings.Contains(log.String(), "Waiting for the NATS server") })
	cancel()
	require.NoError(t, <-ended)
	assert.NotContains(t, log.String(), "Subscribed to")
	assert.NotContains(t, log.String(), "Server running")
}

// article is the request of the article, which has both detection rules in one object.
const article = `{
	"app_id": "my-sinatra-app", "download_uri": "DOWNLOAD", "upload_uri": "UPLOAD",
	"properties": {
		"services": [],
		"framework_info": {
			"name": "sinatra", "runtimes": [{"ruby18": {"default": true}}, {"ruby19": {"default": false}}],
			"detection": [{"*.rb": "\\s*require[\\s\\(]*['\"]sinatra(/base)?['\"]", "config/environment.rb": false}]
		},
		"runtime_info": {"name": "ruby19", "executable": "ruby", "version": "1.9.3"},
		"resources": {"memory": 256, "disk": 256, "fds": 1024}
	}
}`

// request is the article's for this plant, with changes: old text, new text, …
func (p *plant) request(changes ...string) string {
	text := strings.NewReplacer("DOWNLOAD", p.cloud.url("/app"), "UPLOAD", p.cloud.url("/droplet/1/u7")).Replace(article)
	for i := 0; i < len(changes); i += 2 {
		require.Contains(p.t, text, changes[i])
		text = strings.Replace(text, changes[i], changes[i+1], 1)
	}
	return text
}

// A waiter gets the answers to a request.
type waiter struct {
	p   *plant
	sub *nats.Subscription
}

func (p *plant) send(request string) waiter {
	p.t.Helper()
	inbox := nats.NewInbox()
	sub, err := p.conn.SubscribeSync(inbox)
	require.NoError(p.t, err)
	require.NoError(p.t, p.conn.PublishRequest("staging", inbox, []byte(request)))
	require.NoError(p.t, p.conn.Flush())
	return waiter{p, sub}
}

// answer returns the answer, and the keys that it has.
func (w waiter) answer() (messaging.QueuedStagingAnswer, map[string]json.RawMessage) {
	w.p.t.Helper()
	msg, err := w.sub.NextMsg(patience)
	require.NoError(w.p.t, err, w.p.log.String())
	answer, err := messaging.StagerQueue("staging").DecodeAnswer(msg.Data)
	require.NoError(w.p.t, err)
	var keys map[string]json.RawMessage
	require.NoError(w.p.t, json.Unmarshal(msg.Data, &keys))
	return answer, keys
}

// none fails if there is one more answer, when all tasks are over.
func (w waiter) none() {
	w.p.t.Helper()
	require.NoError(w.p.t, w.p.parts.Conn.Flush())
	require.NoError(w.p.t, w.p.conn.Flush())
	n, _, err := w.sub.Pending()
	require.NoError(w.p.t, err)
	require.Zero(w.p.t, n, "answers too many")
}

// clean fails if a task has left something. It is true as soon as there is the answer.
func (p *plant) clean() {
	p.t.Helper()
	entries, err := os.ReadDir(p.cfg.BaseDir)
	require.NoError(p.t, err)
	assert.Empty(p.t, entries, "workspaces")
	handles, err := p.parts.Backend.List(context.Background())
	require.NoError(p.t, err)
	assert.Empty(p.t, handles, "containers")
	assert.NotContains(p.t, p.log.String(), "secret")
}

const recordTime = `\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] `

// texts are the records of a log without their times; it must have one in each line.
func texts(t testing.TB, log string) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(log) {
		require.Regexp(t, `^`+recordTime+`.*\n$`, line)
		all = append(all, strings.TrimSuffix(line[22:], "\n"))
	}
	return all
}

func TestRequestOfTheArticle(t *testing.T) {
	needs.Tool(t, "ruby", "ruby")
	p := newPlant(t)
	w := p.send(p.request())
	answer, keys := w.answer()
	uploaded := p.cloud.posted("/droplet/1/u7") // before anything else: it must be there
	p.clean()

	assert.NotContains(t, keys, "error")
	assert.Regexp(t, `^[0-9a-f]{32}$`, answer.TaskID)
	records := texts(t, answer.TaskLog)
	assert.Equal(t, []string{
		"Setting up temporary directories", "Downloading application", "Unpacking application", "Staging application",
	}, records[:4])
	assert.Contains(t, records[4], "The app asks for ruby19 1.9.3 and gets ")
	assert.Equal(t, []string{
		"Auto-reconfiguration disabled because app does not use Bundler.", "Please provide a Gemfile.lock to use auto-reconfiguration.",
		"Creating droplet", "Uploading droplet", "Done!",
	}, records[len(records)-5:])

	assert.Equal(t, "upload[droplet]", uploaded.field)
	assert.Equal(t, "droplet.tgz", uploaded.fileName)
	assert.Empty(t, uploaded.query)
	assert.Greater(t, uploaded.length, int64(len(uploaded.data)))
	members := stagetest.ReadTgz(t, uploaded.data)
	for _, name := range []string{"./app/", "./logs/", "./tmp/", "./startup", "./stop", "./app/.hidden"} {
		assert.Contains(t, members, name)
	}
	assert.Contains(t, members["./startup"], "\n%VCAP_LOCAL_RUNTIME% app.rb $@ > ../logs/stdout.log 2> ../logs/stderr.log &\n")
	assert.Contains(t, members["./logs/staging.log"], "Auto-reconfiguration disabled")

	p.stop()
	w.none()
}

// TestOneOfTwoStagersAnswers: whoever has the same queue shares the work.
func TestOneOfTwoStagersAnswers(t *testing.T) {
	p := newPlant(t)
	other := newPlant(t, func(other *plant) { other.server, other.conn, other.parts.Conn = p.server, p.conn, p.server.Connect() })
	other.cloud = p.cloud
	var waiters []waiter
	for range 4 {
		waiters = append(waiters, p.send(p.request()))
	}
	for _, w := range waiters {
		answer, _ := w.answer()
		assert.Empty(t, answer.Error)
	}
	other.stop()
	p.stop()
	for _, w := range waiters {
		w.none()
	}
}

// mute is a framework that needs no runtime but the shell; its programs are those given.
type mute struct{ programs []framework.Program }

func (mute) Name() string { return "sinatra" }

func (m mute) Stage(ctx context.Context, t *framework.Tree) (framework.Scripts, error) {
	for _, program := range m.programs {
		t.Run(program)
	}
	return framework.Scripts{Startup: framework.Startup{Command: "true"}}, t.CopyApp(ctx, ".", "app")
}

// with has the stager run a script while it stages.
func with(scripts ...string) func(*plant) {
	return func(p *plant) {
		var m mute
		for _, s := range scripts {
			m.programs = append(m.programs, framework.Program{Script: s, Failure: "It broke"})
		}
		p.parts.Plugins = []framework.Plugin{m}
	}
}

func TestFailuresAreAnswered(t *testing.T) {
	const spring, ruby = `"name": "spring"`, `"name": "sinatra"`
	const task = "Staging task failed:\n "
	begun := []string{"Setting up temporary directories", "Downloading application"}
	unpacking := append(begun, "Unpacking application")
	staging := append(unpacking, "Staging application")
	for name, test := range map[string]struct {
		change  func(*plant) []string // of the request
		want    string                // the whole error
		records []string              // nil: none
		last    string                // behind records; may have several lines
	}{
		"download": {func(p *plant) []string { return []string{"/app", "/none"} }, task + "Failed downloading app", begun, ""},
		"redirect": {func(p *plant) []string {
			p.cloud.handle("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/app", http.StatusFound) })
			return []string{"/app", "/moved"}
		}, task + "Failed downloading app", begun, ""},
		"no zip file": {func(p *plant) []string {
			p.cloud.serve("/app", []byte("<html>"))
			return nil
		}, task + "Failed unpacking app", unpacking, ""},
		"tar file": {func(p *plant) []string {
			p.cloud.serve("/app", stagetest.Files{"app.rb": "x"}.Tgz(t))
			return nil
		}, task + "Failed unpacking app", unpacking, ""},
		"broken zip file": {func(p *plant) []string {
			p.cloud.serve("/app", stagetest.Files{"app.rb": "x"}.Zip(t)[:60])
			return nil
		}, task + "Failed unpacking app", unpacking, ""},
		"plugin": {func(p *plant) []string {
			return []string{ruby, spring, `"executable": "ruby"`, `"executable": "/bin/true"`}
		},
			task + "Staging plugin failed: Web application staging failed: web.xml not found",
			staging, "Staging plugin failed: Web application staging failed: web.xml not found\n"},
		"upload refused": {func(p *plant) []string {
			return []string{"user:secret@", "user:secret@", `"upload_uri": "http://user:secret@`, `"upload_uri": "http://user:wrong@`}
		},
			task + "Failed uploading droplet", nil, ""},
		"upload fails": {func(p *plant) []string {
			p.cloud.handle("/droplet/1/u7", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
			return nil
		}, task + "Failed uploading droplet", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlant(t)
			answer, _ := p.send(p.request(test.change(p)...)).answer()
			p.clean()
			assert.Equal(t, test.want, answer.Error)
			log, found := strings.CutSuffix(answer.TaskLog, test.last)
			require.True(t, found, answer.TaskLog)
			assert.Empty(t, p.cloud.posted("/droplet/1/u7"))
			if test.last != "" {
				assert.Regexp(t, recordTime+`$`, log)
				log = log[:len(log)-22]
			}
			if test.records != nil {
				records := texts(t, log)
				assert.Equal(t, test.records, records[:len(test.records)])
				for _, warning := range records[len(test.records):] {
					assert.Contains(t, warning, "untime")
				}
				return
			}
			assert.Equal(t, "Uploading droplet", texts(t, log)[len(texts(t, log))-1])
		})
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	p := newPlant(t)
	for name, test := range map[string]struct {
		request string
		want    string
	}{
		"no JSON":           {`{"app_id":`, "is not valid JSON"},
		"nothing":           {``, "is empty"},
		"no object":         {`[1]`, "must not be a array"},
		"no properties":     {`{"download_uri":"http://h/a","upload_uri":"http://h/u"}`, "properties is required"},
		"no URIs":           {`{"properties":{}}`, "download_uri is required; upload_uri is required"},
		"null properties":   {`{"download_uri":"http://h/a","upload_uri":"http://h/u","properties":null}`, "bad properties of the app"},
		"no fds":            {p.request(`, "fds": 1024`, ``), "resources.fds is missing"},
		"no number":         {p.request(`"fds": 1024`, `"fds": "many"`), "resources.fds is missing, or no integer"},
		"no framework":      {p.request(`"name": "sinatra",`, ``), "framework_info.name is missing"},
		"unknown framework": {p.request(`"name": "sinatra"`, `"name": "cobol"`), `unknown framework: "cobol"; there are [buildpack django `},
		"path as framework": {p.request(`"name": "sinatra"`, `"name": "../x;y"`), `"../x;y" is no name`},
		"file":              {p.request(p.cloud.url("/app"), `file:///etc/passwd`), "download_uri must be an http or https URL"},
		"no URI":            {p.request(p.cloud.url("/droplet/1/u7"), `http://user:secret@h:port/`), "upload_uri must be an http or https URL"},
		"no buildpacks":     {p.request(`"name": "sinatra"`, `"name": "buildpack"`), "this stager has no buildpacks"},
	} {
		answer, keys := p.send(test.request).answer()
		assert.True(t, strings.HasPrefix(answer.Error, "Staging task failed:\n "), "%s: %s", name, answer.Error)
		assert.Contains(t, answer.Error, test.want, name)
		assert.NotContains(t, answer.Error, "secret", name)
		assert.Regexp(t, `^[0-9a-f]{32}$`, answer.TaskID, name)
		assert.JSONEq(t, `""`, string(keys["task_log"]), name)
	}
	p.clean()
	answer, _ := p.send(p.request()).answer()
	assert.Empty(t, answer.Error, "it goes on")
}

func TestOlderFormsOfRequests(t *testing.T) {
	p := newPlant(t)
	for name, request := range map[string]string{
		"app id is a number": p.request(`"my-sinatra-app"`, `17`),
		"no app id":          p.request(`"app_id": "my-sinatra-app",`, ``),
		"names only": `{"download_uri":"` + p.cloud.url("/app") + `","upload_uri":"` + p.cloud.url("/droplet/1/u7") + `",
			"properties":{"framework":"sinatra","runtime":"ruby19","services":[{}],"resources":{"memory":256,"disk":256,"fds":1024},"environment":{"A":"b"}}}`,
		"envelope": `{"min_version":1,"V2":` + p.request() + `,"V1":{}}`,
		"async":    p.request(`"app_id"`, `"async": null, "app_id"`),
	} {
		answer, _ := p.send(request).answer()
		assert.Empty(t, answer.Error, name)
		assert.Contains(t, answer.TaskLog, "Please provide a Gemfile.lock", name)
	}
}

func TestQueueConfigIsChecked(t *testing.T) {
	server := messagingtest.NewServer(t)
	parts := stager.QueueParts{Conn: server.Connect(), Backend: stagetest.Backend(t)}
	_, err := stager.NewQueue(stager.QueueConfig{
		Queues: []string{"a.b", "*", "", "a.b"}, MaxActive: -1, MaxWaiting: -1, MaxDuration: -1, MemoryMB: -1, MaxPackageBytes: -1,
	}, parts)
	for _, want := range []string{"Queues[1]", "Queues[2]", "Queues[3]", "MaxActive", "MaxWaiting", "MaxDuration", "MemoryMB", "MaxPackageBytes"} {
		assert.ErrorContains(t, err, want)
	}
	_, err = stager.NewQueue(stager.QueueConfig{MaxActive: 1 << 20}, stager.QueueParts{})
	for _, want := range []string{"MaxActive must be at most", "QueueParts.Conn", "QueueParts.Backend"} {
		assert.ErrorContains(t, err, want)
	}
	_, err = stager.NewQueue(stager.QueueConfig{Secure: true}, parts)
	assert.ErrorIs(t, err, stager.ErrNotSecure, "plain processes confine nothing")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	q, err := stager.NewQueue(stager.QueueConfig{BaseDir: file}, parts)
	require.NoError(t, err)
	assert.ErrorContains(t, q.Run(t.Context()), "stager: prepare base directory")
}

// short is a time that tasks of the tests exceed.
const short = 3 * time.Second

// hang takes everything and answers nothing.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}
