package platform_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/examples/internal/hostproc"
	"github.com/deakit/deakit/examples/paas/client"
	"github.com/deakit/deakit/examples/paas/controller"
	"github.com/deakit/deakit/examples/paas/platform"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/messaging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served is a platform that runs for one test.
type served struct {
	*client.Client
	t    *testing.T
	api  string
	dir  string
	stop func()
}

func serve(t *testing.T) *served { return serveOn(t, backends.Process) }

// onEach runs a test on each back end.
func onEach(t *testing.T, test func(*testing.T, *served)) {
	t.Run(backends.Process, func(t *testing.T) { test(t, serveOn(t, backends.Process)) })
	t.Run(backends.Runc, func(t *testing.T) {
		needs.Root(t)
		needs.Tool(t, "runc", "runc")
		test(t, serveOn(t, backends.Runc))
	})
}

func serveOn(t *testing.T, backend string) *served {
	t.Helper()
	s := &served{t: t, dir: t.TempDir()}
	p, err := platform.New(t.Context(), platform.Options{Dir: s.dir, Backend: backend, DEAs: 2})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		if s.Client != nil {
			s.Close()
		}
		cancel()
		assert.NoError(t, <-ended)
	})
	t.Cleanup(s.stop)
	s.api = p.APIURL()
	s.Client, err = client.Dial(t.Context(), s.api)
	require.NoError(t, err)
	return s
}

func pack(t *testing.T, dir string) io.Reader {
	t.Helper()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	var out bytes.Buffer
	_, err = droplet.Pack(t.Context(), &out, root, ".", droplet.PackOptions{})
	require.NoError(t, err)
	return &out
}

func (s *served) push(dir string, settings controller.Settings) error {
	s.t.Helper()
	return s.Push(s.t.Context(), settings, pack(s.t, dir), func(e controller.Event) {
		s.t.Logf("%s %s %s", e.Kind, e.App, e.Text)
	})
}

// source writes an app of a Procfile and a script.
func source(t *testing.T, procfile string) string {
	t.Helper()
	needs.Tool(t, "perl", "perl")
	dir := t.TempDir()
	script, err := os.ReadFile("../../apps/procfile/server.pl")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "server.pl"), script, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Procfile"), []byte(procfile), 0o644))
	return dir
}

const serves = "web: exec perl server.pl\n"

func (s *served) page(app string) (string, error) {
	return s.FetchText(s.t.Context(), "http://"+app+"."+s.Info().Domain+"/")
}

// firstPage is the page of an app that was just pushed: its route comes to the router by another way than the news to the
// controller.
func (s *served) firstPage(app string) (page string) {
	s.t.Helper()
	s.eventually("the router knows the route of "+app, func() bool {
		var err error
		page, err = s.page(app)
		return err == nil
	})
	return page
}

func (s *served) eventually(what string, ok func() bool) {
	s.t.Helper()
	require.Eventually(s.t, ok, 30*time.Second, 10*time.Millisecond, what)
}

func TestEverySampleApp(t *testing.T) {
	s := serve(t)
	for app, tool := range map[string][2]string{
		"go": {"go", "golang-go"}, "static": {"python3", "python3"}, "python": {"python3", "python3"}, "node": {"node", "nodejs"},
		"sinatra": {"ruby", "ruby-sinatra"}, "procfile": {"perl", "perl"},
	} {
		t.Run(app, func(t *testing.T) {
			needs.Tool(t, tool[0], tool[1])
			require.NoError(t, s.push(filepath.Join("../../apps", app), controller.Settings{Name: app, MemoryMB: 128}))
			assert.NotEmpty(t, s.firstPage(app))
			view, err := s.App(t.Context(), app)
			require.NoError(t, err)
			assert.Equal(t, 1, view.Running)
			require.Len(t, view.Instances, 1)
			assert.NotNil(t, view.Instances[0].Stats)
			assert.NoError(t, s.Delete(t.Context(), app))
		})
	}
}

// watch collects the decoded messages of a subject.
func watch[T any](s *served, subject messaging.Subject[T]) <-chan T {
	s.t.Helper()
	conn, err := messaging.Connect(messaging.Config{Servers: []string{s.Info().NATS}})
	require.NoError(s.t, err)
	s.t.Cleanup(conn.Close)
	heard := make(chan T, 100)
	_, err = conn.Subscribe(string(subject), func(m *nats.Msg) {
		if v, err := subject.Decode(m.Data); err == nil {
			heard <- v
		}
	})
	require.NoError(s.t, err)
	require.NoError(s.t, conn.Flush())
	return heard
}

func TestKilledProcessIsReplaced(t *testing.T) { onEach(t, killedProcessIsReplaced) }

func killedProcessIsReplaced(t *testing.T, s *served) {
	require.NoError(t, s.push(source(t, serves), controller.Settings{Name: "app"}))
	exits := watch(s, messaging.DropletExited)
	before, err := s.App(t.Context(), "app")
	require.NoError(t, err)
	url, err := s.FileURL(t.Context(), "app", 0, "run.pid")
	require.NoError(t, err)
	text, err := s.FetchText(t.Context(), url)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	require.NoError(t, err)
	process, err := hostproc.Find(pid, before.Instances[0].Instance)
	require.NoError(t, err)
	defer process.Release()
	require.NoError(t, process.Kill())
	exit := <-exits
	assert.Equal(t, before.Instances[0].Instance, exit.Instance)
	assert.Equal(t, messaging.ReasonCrashed, exit.Reason)
	assert.Equal(t, 137, exit.ExitStatus)
	s.eventually("a replacement runs", func() bool {
		now, err := s.App(t.Context(), "app")
		return err == nil && slices.ContainsFunc(now.Instances, func(i messaging.FoundInstance) bool {
			return i.Instance != exit.Instance && i.State == messaging.Running
		})
	})
	_, err = s.page("app")
	assert.NoError(t, err)
	assert.Empty(t, exits, "exactly one exit")
}

// load asks an app without pause, and returns how many requests were made and which failed.
func (s *served) load(app string) (stop func() (int64, []error)) {
	ctx, cancel := context.WithCancel(context.Background())
	var requests atomic.Int64
	var lock sync.Mutex
	var failed []error
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for ctx.Err() == nil {
				_, err := s.page(app)
				requests.Add(1)
				if err != nil {
					lock.Lock()
					failed = append(failed, err)
					lock.Unlock()
				}
			}
		})
	}
	return func() (int64, []error) { cancel(); workers.Wait(); return requests.Load(), failed }
}

func TestSecondPushIsANewVersionAndLosesNoRequest(t *testing.T) {
	s := serve(t)
	dir := source(t, serves)
	require.NoError(t, s.push(dir, controller.Settings{Name: "app", Instances: 2}))
	before, err := s.App(t.Context(), "app")
	require.NoError(t, err)
	stop := s.load("app")
	require.NoError(t, s.push(dir, controller.Settings{Name: "app", Instances: 2}))
	s.eventually("the old version is gone", func() bool {
		now, err := s.App(t.Context(), "app")
		return err == nil && now.Version != before.Version && len(now.Instances) == 2 &&
			now.Instances[0].Version == now.Version && now.Instances[1].Version == now.Version
	})
	requests, failed := stop()
	assert.Empty(t, failed)
	assert.NotZero(t, requests)
}

func TestEvacuationLosesNoRequest(t *testing.T) {
	s := serve(t)
	require.NoError(t, s.push(source(t, serves), controller.Settings{Name: "app", Instances: 2}))
	deas, err := s.DEAs(t.Context())
	require.NoError(t, err)
	require.Len(t, deas, 2)
	stop := s.load("app")
	evacuation, err := s.Evacuate(t.Context(), deas[1].ID[:6], false)
	require.NoError(t, err)
	assert.Equal(t, controller.Evacuation{DEA: deas[1].ID, Instances: 1}, evacuation)
	s.eventually("both instances run on the DEA that is left", func() bool {
		app, err := s.App(t.Context(), "app")
		return err == nil && len(app.Instances) == 2 && app.Instances[0].DEA == deas[0].ID && app.Instances[1].DEA == deas[0].ID
	})
	requests, failed := stop()
	assert.Empty(t, failed)
	assert.NotZero(t, requests)
	var refused *client.APIError
	_, err = s.Evacuate(t.Context(), "no-such-dea", false)
	assert.ErrorAs(t, err, &refused)
}

func TestWhatCannotBeStagedIsSaid(t *testing.T) {
	s := serve(t)
	var failure *client.PushError
	require.ErrorAs(t, s.push(t.TempDir(), controller.Settings{Name: "empty"}), &failure)
	assert.Equal(t, "staging", failure.Kind)
	assert.Contains(t, failure.Text, messaging.NoAppDetected)
	apps, err := s.Apps(t.Context())
	require.NoError(t, err)
	assert.Empty(t, apps, "an app that never was is not kept")

	require.ErrorAs(t, s.push(t.TempDir(), controller.Settings{Name: "git", Buildpack: "file:///no/such/repository"}), &failure)
	assert.Equal(t, "staging", failure.Kind)
	var refused *client.APIError
	for _, name := range []string{"UPPER", "-dash", "a.b", strings.Repeat("a", 64)} {
		assert.ErrorAs(t, s.push(t.TempDir(), controller.Settings{Name: name}), &refused, name)
	}
	require.ErrorAs(t, s.Push(t.Context(), controller.Settings{Name: "rubbish"}, strings.NewReader("no archive"), func(controller.Event) {}), &failure)
	assert.Equal(t, "staging", failure.Kind)
}

func TestVersionThatCrashesIsRolledBack(t *testing.T) {
	s := serve(t)
	require.NoError(t, s.push(source(t, serves), controller.Settings{Name: "app", Instances: 2}))
	good, err := s.App(t.Context(), "app")
	require.NoError(t, err)
	stop := s.load("app")
	var failure *client.PushError
	require.ErrorAs(t, s.push(source(t, "web: sh -c 'exit 7'\n"), controller.Settings{Name: "app", Instances: 2}), &failure)
	assert.Equal(t, "rollout", failure.Kind)
	assert.Contains(t, failure.Text, "status 7")
	_, failed := stop()
	assert.Empty(t, failed)
	now, err := s.App(t.Context(), "app")
	require.NoError(t, err)
	assert.Equal(t, good.Version, now.Version)
	assert.Equal(t, 2, now.Running)
}

func TestFirstVersionThatCrashesShowsItsLog(t *testing.T) {
	s := serve(t)
	var failure *client.PushError
	require.ErrorAs(t, s.push(source(t, "web: sh -c 'echo last words; exit 7'\n"), controller.Settings{Name: "app"}), &failure)
	app, err := s.App(t.Context(), "app")
	require.NoError(t, err)
	assert.Equal(t, "CRASHED", app.State)
	s.eventually("its log is kept", func() bool {
		url, err := s.FileURL(t.Context(), "app", 0, "/logs/stdout.log")
		if err != nil {
			return false
		}
		log, err := s.FetchText(t.Context(), url)
		return err == nil && strings.Contains(log, "last words")
	})
	require.NoError(t, s.push(source(t, serves), controller.Settings{Name: "app"}), "it can be pushed again")
}

func TestScaleStopStart(t *testing.T) {
	s := serve(t)
	require.NoError(t, s.push(source(t, serves), controller.Settings{Name: "app"}))
	running := func(n int) func() bool {
		return func() bool {
			app, err := s.App(t.Context(), "app")
			return err == nil && len(app.Instances) == n && app.Running == n
		}
	}
	require.NoError(t, s.Scale(t.Context(), "app", 4))
	s.eventually("four", running(4))
	require.NoError(t, s.Scale(t.Context(), "app", 1))
	s.eventually("one", running(1))
	require.NoError(t, s.Stop(t.Context(), "app"))
	s.eventually("none", running(0))
	_, err := s.page("app")
	assert.ErrorContains(t, err, "404")
	require.NoError(t, s.Start(t.Context(), "app"))
	s.eventually("one again", running(1))
	assert.Error(t, s.Scale(t.Context(), "app", 0))
	assert.Error(t, s.Scale(t.Context(), "other", 1))
}

// Rubbish on every subject that any part listens to leaves all parts alive, and the app untouched.
func TestRubbishOnEverySubject(t *testing.T) {
	s := serve(t)
	require.NoError(t, s.push(source(t, serves), controller.Settings{Name: "app"}))
	before, err := s.App(t.Context(), "app")
	require.NoError(t, err)
	conn, err := messaging.Connect(messaging.Config{Servers: []string{s.Info().NATS}})
	require.NoError(t, err)
	defer conn.Close()
	deas, err := s.DEAs(t.Context())
	require.NoError(t, err)
	for _, kind := range messaging.Kinds() {
		subject := strings.Replace(kind.Subject, "*", deas[0].ID, 1)
		for _, payload := range []string{
			"", "null", "{}", "[]", "0", `"x"`, "{", `{"droplet":`, "\x00\xff", `{"droplet":"other","index":-1}`, `{"id":null}`,
			`{"dea":"x","droplets":[null]}`, `{"uris":null,"host":1,"port":"x"}`, strings.Repeat(`{"a":`, 2000),
		} {
			require.NoError(t, conn.PublishRequest(subject, nats.NewInbox(), []byte(payload)))
		}
	}
	require.NoError(t, conn.Flush())
	after, err := s.App(t.Context(), "app")
	require.NoError(t, err)
	require.Len(t, after.Instances, 1)
	assert.Equal(t, before.Instances[0].Instance, after.Instances[0].Instance)
	_, err = s.page("app")
	require.NoError(t, err)
	require.NoError(t, s.push(source(t, serves), controller.Settings{Name: "second"}), "every part still does its work")
}

func TestBuildpackOfOnesOwn(t *testing.T) {
	needs.Tool(t, "zip", "zip")
	needs.Tool(t, "perl", "perl")
	s := serve(t)
	dir := t.TempDir()
	for name, script := range map[string]string{
		"detect": "echo Mine", "compile": "cp \"$1/code\" \"$1/server.pl\"", "release": "printf 'default_process_types:\\n  web: exec perl server.pl\\n'",
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "bin", name), []byte("#!/bin/sh\nset -e\n"+script+"\n"), 0o755))
	}
	archive := zipped(t, dir)
	require.NoError(t, s.PutBuildpack(t.Context(), "mine_1", archive))
	app := t.TempDir()
	code, err := os.ReadFile("../../apps/procfile/server.pl")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(app, "code"), code, 0o644))
	require.NoError(t, s.push(app, controller.Settings{Name: "app", Buildpack: "mine_1"}))
	_, err = s.page("app")
	assert.NoError(t, err)
}

func TestStopLeavesNothing(t *testing.T) { onEach(t, stopLeavesNothing) }

func stopLeavesNothing(t *testing.T, s *served) {
	require.NoError(t, s.push(source(t, serves), controller.Settings{Name: "app", Instances: 2}))
	s.stop()
	depots, err := filepath.Glob(filepath.Join(s.dir, "*", "containers*"))
	require.NoError(t, err)
	assert.Len(t, depots, 3, "of two DEAs and the stager")
	for _, depot := range depots {
		entries, err := os.ReadDir(depot)
		require.NoError(t, err)
		for _, entry := range entries {
			assert.False(t, entry.IsDir() && !strings.HasPrefix(entry.Name(), "."), "container %s is left in %s", entry.Name(), depot)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), s.dir+"/", "mounts")
	devices, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	require.NoError(t, err)
	for _, device := range devices {
		file, _ := os.ReadFile(device) // it may be gone
		assert.NotContains(t, string(file), s.dir+"/", "loop device")
	}
}

func TestPortInUseIsSaid(t *testing.T) {
	s := serve(t)
	_, err := platform.New(t.Context(), platform.Options{Dir: t.TempDir(), RouterAddr: s.Info().Router})
	assert.ErrorContains(t, err, "router: listen")
	assert.ErrorIs(t, err, syscall.EADDRINUSE)
	_, err = platform.New(t.Context(), platform.Options{Dir: t.TempDir(), NATSAddr: strings.TrimPrefix(s.Info().NATS, "nats://")})
	assert.ErrorIs(t, err, syscall.EADDRINUSE)
}

// A signal that comes early leaves nothing open.
func TestNewEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := platform.New(ctx, platform.Options{Dir: t.TempDir(), DEAs: 2})
	assert.ErrorIs(t, err, context.Canceled)
}

// A web page that the user looks at must not reach the API, neither from its own origin nor by a name of its own.
func TestForeignPagesAreRefused(t *testing.T) {
	s := serve(t)
	for name, edit := range map[string]func(*http.Request){
		"origin": func(r *http.Request) { r.Header.Set("Origin", "http://evil.example.com") },
		"fetch":  func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"host":   func(r *http.Request) { r.Host = "evil.example.com" },
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.api+"/v1/apps/app/push", strings.NewReader("x"))
		require.NoError(t, err)
		edit(r)
		answer, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		assert.Equal(t, http.StatusForbidden, answer.StatusCode, name)
	}
	http.DefaultClient.CloseIdleConnections()
	_, err := platform.New(t.Context(), platform.Options{Dir: t.TempDir(), APIAddr: "0.0.0.0:0"})
	assert.ErrorContains(t, err, "loopback")
	_, err = platform.New(t.Context(), platform.Options{Dir: t.TempDir(), DEAs: -1})
	assert.ErrorContains(t, err, "negative")
}
