package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/examples/internal/standin"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// binaries is where buildDEA puts the DEA.
var binaries string

func TestMain(m *testing.M) {
	testapp.Main()
	dir, err := os.MkdirTemp("", "request-dea-")
	if err != nil {
		panic(err)
	}
	binaries = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// buildDEA returns the path of the DEA, once for all tests.
var buildDEA = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(binaries, "dea")
	out, err := exec.Command("go", "build", "-o", binary, "../dea").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go build: %w: %s", err, out)
	}
	return binary, err
})

// A site is a DEA, and its NATS server.
type site struct {
	t    *testing.T
	nats *messagingtest.Server
}

// newSite starts a DEA with more in its configuration.
func newSite(t *testing.T, more map[string]any) *site {
	dir := t.TempDir()
	binary, err := buildDEA()
	require.NoError(t, err)
	s := &site{t: t, nats: messagingtest.NewServer(t)}
	cfg := map[string]any{
		"base_dir": filepath.Join(dir, "dea"), "pid_filename": filepath.Join(dir, "dea.pid"), "logging": map[string]any{"level": "info"},
		"nats_servers": []string{s.nats.URL()}, "index": 0, "domain": "example.com", "stacks": []string{"today"},
		"directory_server": map[string]any{"protocol": "http", "v2_port": programtest.FreePort(t), "file_api_port": programtest.FreePort(t)},
		"resources":        map[string]any{"memory_mb": 512, "disk_mb": 512},
	}
	for key, value := range more {
		cfg[key] = value
	}
	data, err := json.Marshal(cfg)
	require.NoError(t, err)
	file := filepath.Join(dir, "dea.yml")
	require.NoError(t, os.WriteFile(file, data, 0o600))
	programtest.Launch(t, binary, "--backend", "process", file).Says("dea.started")
	return s
}

var answersDiscover = map[string]any{"deakit": map[string]any{"host": "127.0.0.1", "legacy_subjects": []string{"dea.discover"}}}
var offers = map[string]any{"deakit": map[string]any{"host": "127.0.0.1"}}

// request runs the program.
func (s *site) request(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	return request(s.t, append([]string{"--nats", s.nats.URL()}, args...)...)
}

func request(t *testing.T, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// heard are the messages on a subject from now on.
func (s *site) heard(subject string) *nats.Subscription {
	conn := s.nats.Connect()
	sub, err := conn.SubscribeSync(subject)
	require.NoError(s.t, err)
	require.NoError(s.t, conn.Flush())
	return sub
}

func TestAppRunsAndStops(t *testing.T) {
	for name, how := range map[string]map[string]any{"dea.discover": answersDiscover, "dea.advertise": offers} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, how)
			app := testapp.NewDroplet(t, nil)
			code, out, errs := s.request(app.Path, "--name", "shop", "-e", testapp.Env(testapp.Serves), "--memory", "64", "--stack", "today")
			require.Equal(t, exitOK, code, errs)
			assert.Contains(t, errs, "RUNNING\n")
			var known struct {
				Name   string   `json:"application_name"`
				URIs   []string `json:"application_uris"`
				Limits map[string]int
			}
			require.NoError(t, json.Unmarshal([]byte(get(t, strings.TrimSpace(out))), &known), "the app tells what it is told")
			assert.Equal(t, "shop", known.Name)
			assert.Equal(t, []string{"shop.localhost"}, known.URIs)
			assert.Equal(t, 64, known.Limits["mem"])

			code, _, errs = s.request("--stop", "shop")
			require.Equal(t, exitOK, code, errs)
			_, err := net.DialTimeout("tcp", strings.Trim(strings.TrimSpace(out), "htp:/"), time.Second)
			require.Error(t, err, "nobody listens there any more")
			code, _, errs = s.request("--stop", "shop")
			assert.Equal(t, exitFailed, code)
			assert.Contains(t, errs, `no DEA runs an app "shop"`)
		})
	}
}

// The end of an app that does not come up is told with the last lines of its log.
func TestAppThatEnds(t *testing.T) {
	s := newSite(t, answersDiscover)
	app := testapp.NewDroplet(t, nil)
	code, out, errs := s.request(app.Path, "-e", testapp.Env(testapp.ExitsAtOnce))
	assert.Equal(t, exitCrashed, code)
	assert.Empty(t, out)
	assert.Contains(t, errs, "exit status 4")
	assert.Contains(t, errs, "--- /logs/stdout.log\napp in mode exits at once\n")
	assert.NotContains(t, errs, "hmac=", "a signed URL is good for whoever has it")
}

// A droplet whose runtime nobody has is not started, and the DEA's log is where that is told.
func TestRuntimeThatIsNotThere(t *testing.T) {
	s := newSite(t, answersDiscover)
	app := testapp.PackDroplet(t, map[string]string{"startup": "#!/bin/bash\n%VCAP_LOCAL_RUNTIME%\n", "stop": "#!/bin/bash\n"})
	code, _, errs := s.request(app.Path, "--runtime", "cobol68")
	assert.Equal(t, exitCrashed, code)
	assert.Contains(t, errs, "its log is empty; that of the DEA tells more")
}

// What commands of the startup script complain of is not why the app has ended.
func TestNoiseIsNotShown(t *testing.T) {
	s := newSite(t, answersDiscover)
	startup := "#!/bin/bash\nmkdir logs # $@\necho $$ >run.pid\necho why >>logs/stderr.log\nexit 7\n"
	app := testapp.PackDroplet(t, map[string]string{"startup": startup, "stop": "#!/bin/bash\n"})
	code, _, errs := s.request(app.Path)
	assert.Equal(t, exitCrashed, code)
	assert.Contains(t, errs, "--- /logs/stderr.log\nwhy\n")
	assert.NotContains(t, errs, "mkdir")
}

// A droplet that the DEA cannot download leaves no logs, and perhaps no files at all.
func TestDropletThatCannotBeFetched(t *testing.T) {
	s := newSite(t, answersDiscover)
	code, _, errs := s.request(testapp.NewDroplet(t, nil).Path, "--url", "http://127.0.0.1:1")
	assert.Equal(t, exitCrashed, code)
	assert.Regexp(t, "its own log tells more|that of the DEA tells more", errs)
}

// Files that are put away while they are asked for are waited for, and others are not.
func TestFilesThatComeLate(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch {
		case r.URL.Path == "/never" || asked < 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/absent":
			w.WriteHeader(http.StatusNotFound)
		case r.URL.Path == "/large":
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(strings.Repeat("a", maxLog)+"end"))
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer server.Close()
	fetch := func(ctx context.Context, path string) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path+"?hmac=secret", nil)
		require.NoError(t, err)
		data, err := fetchKept(request)
		return string(data), err
	}
	text, err := fetch(t.Context(), "/large")
	require.NoError(t, err)
	assert.Len(t, text, maxLog)
	assert.True(t, strings.HasSuffix(text, "aend"))
	assert.Equal(t, 3, asked)
	_, err = fetch(t.Context(), "/absent")
	require.ErrorIs(t, err, errNoFile)
	_, err = fetch(t.Context(), "/forbidden")
	require.ErrorContains(t, err, "the directory server says 403")
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Millisecond)
	defer cancel()
	_, err = fetch(ctx, "/never")
	require.ErrorIs(t, err, errNotKept)
	server.Close()
	_, err = fetch(t.Context(), "/gone")
	require.ErrorContains(t, err, "the directory server does not answer: ")
	assert.NotContains(t, err.Error(), "secret")
}

// What does not come up in time is not left behind.
func TestAppThatTakesTooLong(t *testing.T) {
	s := newSite(t, answersDiscover)
	app := testapp.NewDroplet(t, nil)
	stops := s.heard("dea.stop")
	code, _, errs := s.request(app.Path, "--name", "shop", "-e", testapp.Env(testapp.NeverListens), "--timeout", "3s")
	assert.Equal(t, exitTimeout, code)
	assert.Contains(t, errs, "the app does not run yet: timed out after 3s")
	msg, err := stops.NextMsg(programtest.Patience)
	require.NoError(t, err)
	stop, err := messaging.DEAStop.Decode(msg.Data)
	require.NoError(t, err)
	assert.EqualValues(t, "shop", stop.Droplet)
	assert.NotEmpty(t, *stop.Version, "other versions run on")
	conn := s.nats.Connect()
	require.Eventually(t, func() bool {
		found, err := find(t.Context(), conn, messaging.FindMessage{Filter: messaging.Filter{Droplet: "shop"}})
		return err == nil && found.Instance == ""
	}, programtest.Patience, 10*time.Millisecond)
}

func TestFailures(t *testing.T) {
	url := messagingtest.NewServer(t).URL()
	app := testapp.NewDroplet(t, nil).Path
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("no archive"), 0o600))
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, exitOK, ""},
		{[]string{"--nonsense"}, exitUsage, "try --help"},
		{[]string{"--timeout", "0s"}, exitUsage, "--timeout must be more than 0"},
		{[]string{"--memory=-1"}, exitUsage, "cannot be less than 0"},
		{[]string{"--name", ""}, exitUsage, "--name must not be empty"},
		{[]string{"/absent"}, exitFailed, "examples/request-stager and examples/droplet make one"},
		{[]string{text}, exitFailed, "droplet " + text + ": "},
		{[]string{app, "--listen", "nowhere:x"}, exitFailed, "--listen: "},
		{[]string{app, "--url", "x"}, exitFailed, "--url must have the form"},
		{[]string{app}, exitFailed, "no DEA answers at " + url + "; start examples/dea"},
		{[]string{app, "--nats", "nats://127.0.0.1:1", "--timeout", "100ms"}, exitFailed, "no NATS server answers"},
		{[]string{app, "--timeout", "100ms"}, exitTimeout, "no DEA answers at " + url + "; start examples/dea, or name another NATS server with --nats: timed out"},
		{[]string{app, "-e", "=sesame"}, exitUsage, "--env: there is no name"},
		{[]string{"--stop", "shop"}, exitFailed, `no DEA runs an app "shop"`},
	} {
		code, _, errs := request(t, append([]string{"--nats", url}, test.args...)...)
		assert.Equal(t, test.code, code, "%v: %s", test.args, errs)
		assert.Contains(t, errs, test.want, test.args)
	}
}

// Of DEAs that say nothing to the question, the first with room takes the app.
func TestOffers(t *testing.T) {
	server := messagingtest.NewServer(t)
	conn := server.Connect()
	require.Eventually(t, conn.IsConnected, programtest.Patience, time.Millisecond)
	disk := messaging.Int(10)
	all := []messaging.Advertisement{
		{ID: "small", Stacks: []string{"a"}, AvailableMemory: 10}, {ID: "full", Stacks: []string{"a"}, AvailableMemory: 1000, AvailableDisk: &disk},
		{ID: "large", Stacks: []string{"a"}, AvailableMemory: 1000}, {ID: "other", Stacks: []string{"b"}, AvailableMemory: 1000},
	}
	_, err := conn.Subscribe(string(messaging.DEALocate), func(*nats.Msg) {
		assert.NoError(t, conn.Publish(string(messaging.DEAAdvertise), []byte("no offer")))
		for _, offer := range all {
			offer.AppIDToCount = map[string]int{}
			assert.NoError(t, messaging.DEAAdvertise.Publish(conn, offer))
		}
	})
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	for _, test := range []struct {
		stack string
		mem   int64
		want  string
	}{{"", 256, "large"}, {"b", 256, "other"}, {"", 5, "small"}} {
		id, err := (&cli{Name: "a", Memory: test.mem, Disk: 256, Stack: test.stack}).place(t.Context(), conn)
		require.NoError(t, err)
		assert.Equal(t, test.want, id)
	}
	_, err = (&cli{Name: "a", Memory: 5000}).place(t.Context(), conn)
	assert.ErrorContains(t, err, `no DEA has room for 5000 MB`)
	_, err = (&cli{Name: "a", Memory: 1, Stack: "c"}).place(t.Context(), conn)
	assert.ErrorContains(t, err, `no DEA has the stack "c"; name another with --stack (there are: a, b)`)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrUnexpectedEOF)
	_, err = (&cli{Name: "a"}).place(ctx, conn)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// What the start message says of the runtime is what was told, or what the framework of the droplet wants.
func TestMessage(t *testing.T) {
	app := testapp.PackDroplet(t, map[string]string{"staging_info.yml": "---\ndetected_buildpack: sinatra\n", "startup": "x"})
	d, err := openDroplet(t.Context(), app.Path)
	require.NoError(t, err)
	defer d.Close()
	server, err := standin.Listen("127.0.0.1:0", "")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- server.Serve(ctx, d.handler(), time.Minute) }()
	defer func() {
		cancel()
		assert.NoError(t, <-served)
	}()

	m := (&cli{Name: "a b", Memory: 1}).message(d, server)
	assert.JSONEq(t, `{"name":"ruby18"}`, string(m.RuntimeInfo))
	assert.JSONEq(t, `"ruby18"`, string(m.Runtime))
	assert.Equal(t, app.SHA1, m.SHA1)
	content, err := os.ReadFile(app.Path)
	require.NoError(t, err)
	assert.Equal(t, string(content), get(t, m.ExecutableURI))
	m = (&cli{Name: "a", Runtime: "ruby19", URIs: []string{}}).message(d, server)
	assert.JSONEq(t, `"ruby19"`, string(m.Runtime))
	assert.Empty(t, m.URIs)
	d.runtime = ""
	assert.Nil(t, (&cli{Name: "a"}).message(d, server).WantedRuntime(), "buildpacks bring theirs")
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(data)
}
