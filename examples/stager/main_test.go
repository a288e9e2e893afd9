package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/examples/internal/signals"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func TestMain(m *testing.M) {
	programtest.Main(m, func(args []string) int {
		backends.Begin()
		return run(args, os.Stdout)
	}, nil)
}

const patience = time.Minute

type object = map[string]any

// article is the configuration of the article, in a directory of the test.
func article(dir, natsURI string) object {
	return object{
		"logging": object{"level": "debug2"}, "pid_filename": filepath.Join(dir, "run", "stager.pid"), "nats_uri": natsURI,
		"max_staging_duration": 120, "max_active_tasks": 10, "queues": []string{"staging"}, "secure": false,
		"dirs": object{"tmp": filepath.Join(dir, "tmp")}, "ruby_path": "/usr/bin/ruby", "something_else": true,
	}
}

func write(t *testing.T, cfg object) string {
	data, err := yaml.Marshal(cfg)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "stager.yml")
	require.NoError(t, os.WriteFile(file, data, 0o600))
	return file
}

func TestCommandLine(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--help"}, exitOK, "a second one gives these up"},
		{[]string{"--sleep"}, exitUsage, "try --help"},
		{[]string{"more"}, exitUsage, "unexpected argument more"},
		{[]string{"--check"}, exitOK, "can be used"}, // the sample
		{[]string{"-c", "config/stager.yml", "-s", "1", "--check"}, exitOK, "can be used"},
		{[]string{"--config=config/stager.yml", "--sleep-interval", "2", "--check"}, exitOK, "can be used"},
	} {
		p := programtest.Start(t, test.args...)
		assert.Equal(t, test.code, p.End(), test.args)
		assert.Contains(t, p.Text(), test.says)
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	const invalid = "ERROR: There was a problem validating the supplied config: "
	dir := t.TempDir()
	for _, key := range []string{"logging", "pid_filename", "nats_uri", "max_staging_duration", "max_active_tasks", "queues", "secure"} {
		cfg := article(dir, "nats://127.0.0.1:1")
		delete(cfg, key)
		_, err := load(write(t, cfg))
		assert.ErrorContains(t, err, invalid+key+" is missing", key)
	}
	for text, want := range map[string]string{
		"max_staging_duration: soon":       "max_staging_duration must be an integer",
		"max_staging_duration: 0":          "max_staging_duration must be at least 1, in seconds",
		"max_active_tasks: 1.5":            "max_active_tasks must be an integer",
		"queues: staging":                  "queues must be a list of texts",
		"queues: [[a]]":                    "queues must be a list of texts",
		"secure: perhaps":                  "secure must be true or false",
		"nats_uri: [a]":                    "nats_uri must be a text",
		"nats_uri: nats://127.0.0.1:99999": "nats_uri cannot be used: the port of a URL must be a number from 1 to 65535",
		"nats_uri: http://user:sesame@h":   "nats_uri cannot be used: a URL must have the form nats://[user:password@]host:port",
		"index: -1":                        "index must not be negative",
		"local_route: here":                "local_route must be an IP address",
		"logging: {level: loud}":           "logging.level is wrong: unknown log level; choose one of ",
		"dirs: 7":                          "dirs must be a map of keys",
		"deakit: {backend: warden}":        "deakit.backend must be process, runc or auto",
		"deakit: {typing_error: 1}":        "deakit.typing_error is not known",
		"deakit: {strict: 1}":              "deakit.strict must be true or false",
		"index: 1\nindex: 2":               "index is there already, in line ",
	} {
		cfg := article(dir, "nats://127.0.0.1:1")
		key, _, _ := strings.Cut(text, ":")
		delete(cfg, key)
		file := write(t, cfg)
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		lines := strings.Count(string(data)+text, "\n") + 1
		require.NoError(t, os.WriteFile(file, []byte(string(data)+text+"\n"), 0o600))
		_, err = load(file)
		assert.ErrorContains(t, err, fmt.Sprintf("%sline %d: %s", invalid, lines, want), text)
		assert.NotContains(t, err.Error(), "sesame")
	}
	merged := filepath.Join(dir, "merged.yml")
	require.NoError(t, os.WriteFile(merged, []byte(`
base: &base {level: off, file: /log}
logging: {<<: *base, level: &level debug}
<<: {max_active_tasks: 3, secure: true}
secure: false
pid_filename: *level
nats_uri: nats://localhost
max_staging_duration: 9
queues: [a, 7]
dirs:
`), 0o600))
	made, err := load(merged)
	require.NoError(t, err)
	assert.Equal(t, []any{"debug", "/log", int64(3), false, "debug", []string{"a", "7"}}, []any{
		*made.Logging.Level, made.Logging.File, *made.MaxActiveTasks, *made.Secure, *made.PIDFilename, *made.Queues,
	})
	cyclic := filepath.Join(dir, "cyclic.yml")
	require.NoError(t, os.WriteFile(cyclic, []byte("logging: &a\n  <<: *a\n"), 0o600))
	_, err = load(cyclic)
	require.Error(t, err)
	cfg := article(dir, "nats://127.0.0.1:1")
	cfg["deakit"] = nil
	_, err = load(write(t, cfg))
	require.NoError(t, err)

	bad := filepath.Join(dir, "bad.yml")
	require.NoError(t, os.WriteFile(bad, []byte("a: [1"), 0o600))
	for _, file := range []string{bad, filepath.Join(dir, "absent.yml")} {
		p := programtest.Start(t, "-c", file)
		assert.Equal(t, exitFailed, p.End())
		assert.True(t, strings.HasPrefix(p.Text(), "ERROR: Failed loading config from file '"+file+"': "), p.Text())
	}
	cfg = article(dir, "nats://127.0.0.1:1")
	delete(cfg, "queues")
	p := programtest.Start(t, "-c", write(t, cfg))
	assert.Equal(t, exitFailed, p.End())
	assert.Equal(t, invalid+"queues is missing\n", p.Text())
	cfg = article(dir, "nats://127.0.0.1:1")
	cfg["pid_filename"] = filepath.Join(bad, "stager.pid")
	p = programtest.Start(t, "-c", write(t, cfg))
	assert.Equal(t, exitFailed, p.End())
	assert.Contains(t, p.Text(), "ERROR: Can't create stager pid file "+bad)
}

func TestSecureModeWithoutContainers(t *testing.T) {
	cfg := article(t.TempDir(), "nats://127.0.0.1:1")
	cfg["secure"], cfg["deakit"] = true, object{"backend": "process"}
	p := programtest.Start(t, "-c", write(t, cfg))
	assert.Equal(t, exitFailed, p.End())
	assert.Contains(t, p.Text(), "set deakit.backend to runc, or secure to false")
}

func TestWhereTheConfigurationIs(t *testing.T) {
	dir := t.TempDir()
	named := write(t, article(dir, "nats://127.0.0.1:1"))
	cfg := article(dir, "nats://127.0.0.1:1")
	delete(cfg, "secure")
	t.Setenv("CLOUD_FOUNDRY_CONFIG_PATH", filepath.Dir(write(t, cfg)))
	p := programtest.Start(t, "--check")
	assert.Equal(t, exitFailed, p.End())
	assert.Contains(t, p.Text(), "secure is missing")
	p = programtest.Start(t, "--check", "-c", named)
	assert.Equal(t, exitOK, p.End())
}

// A site is a stager, and what it needs.
type site struct {
	*programtest.Program
	t         *testing.T
	dir, file string
	server    *messagingtest.Server
	peer      *nats.Conn
}

func newSite(t *testing.T, change func(object)) *site {
	s := &site{t: t, dir: t.TempDir(), server: messagingtest.NewServer(t)}
	s.peer = s.server.Connect()
	require.Eventually(t, s.peer.IsConnected, patience, time.Millisecond)
	cfg := article(s.dir, s.server.URL())
	if change != nil {
		change(cfg)
	}
	s.file = write(t, cfg)
	s.Program = programtest.Start(t, "-c", s.file, "-s", "1")
	return s
}

func (s *site) pidFile() string { return filepath.Join(s.dir, "run", "stager.pid") }

// request asks for an app in Sinatra.
func request(download, upload string) messaging.QueuedStaging {
	return messaging.QueuedStaging{
		AppID: "my-sinatra-app", DownloadURI: download, UploadURI: upload,
		Properties: []byte(`{"services":[],"framework_info":{"name":"sinatra"},"runtime_info":{"name":"ruby19","executable":"ruby"},
			"resources":{"memory":256,"disk":256,"fds":1024}}`),
	}
}

func (s *site) ask(r messaging.QueuedStaging) *nats.Subscription {
	data, err := messaging.StagerQueue("staging").Encode(r)
	require.NoError(s.t, err)
	inbox := nats.NewInbox()
	sub, err := s.peer.SubscribeSync(inbox)
	require.NoError(s.t, err)
	require.NoError(s.t, s.peer.PublishRequest("staging", inbox, data))
	return sub
}

func answer(t *testing.T, sub *nats.Subscription) messaging.QueuedStagingAnswer {
	t.Helper()
	msg, err := sub.NextMsg(patience)
	require.NoError(t, err)
	a, err := messaging.StagerQueue("staging").DecodeAnswer(msg.Data)
	require.NoError(t, err)
	return a
}

// another sends a signal when the time is over in which several count as one.
func (s *site) another(signal syscall.Signal) {
	<-time.After(signals.AsOne + 100*time.Millisecond)
	s.Signal(signal)
}

// TestSignals: each of the three lets tasks end; another one gives them up.
func TestSignals(t *testing.T) {
	for _, signals := range [][]syscall.Signal{
		{syscall.SIGINT}, {syscall.SIGTERM}, {syscall.SIGHUP, syscall.SIGUSR2}, {syscall.SIGUSR2, syscall.SIGINT},
	} {
		t.Run(fmt.Sprint(signals), func(t *testing.T) {
			asked, goOn := make(chan struct{}), make(chan struct{})
			cc := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(asked)
				<-goOn
				w.WriteHeader(http.StatusNotFound)
			}))
			defer cc.Close()
			s := newSite(t, nil)
			s.Says("Server running")
			pid, err := os.ReadFile(s.pidFile())
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprintln(s.PID()), string(pid))
			other := programtest.Start(t, "-c", s.file)
			assert.Equal(t, exitFailed, other.End())
			assert.Contains(t, other.Text(), "ERROR: Can't create stager pid file")

			sub := s.ask(request(cc.URL, cc.URL))
			<-asked
			s.Signal(signals[0])
			want := "Staging task failed:\n Failed downloading app"
			if signals[0] != syscall.SIGHUP {
				s.Says("Waiting for remaining 1 task(s) to finish.")
			}
			if len(signals) == 2 {
				s.another(signals[1])
			}
			s.Says("Waiting for remaining 1 task(s) to finish.")
			if aborted := len(signals) == 2 && signals[0] != syscall.SIGHUP; aborted {
				want = "Staging task failed:\n The stager was stopped before the task had ended"
			} else {
				close(goOn)
			}
			assert.Equal(t, want, answer(t, sub).Error)
			select {
			case <-goOn:
			default:
				close(goOn)
			}
			assert.Equal(t, exitOK, s.End())
			assert.Contains(t, s.Text(), "Shutdown complete")
			assert.NoFileExists(t, s.pidFile())
			left, err := os.ReadDir(filepath.Join(s.dir, "tmp"))
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
}
