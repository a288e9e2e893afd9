package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/agent"
	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/task"
	"github.com/deakit/deakit/agent/transport"
	"github.com/deakit/deakit/internal/uuid"
	"github.com/deakit/deakit/messaging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started is an agent at work, until the test or stop ends it.
type started struct {
	*agent.Agent
	t    testing.TB
	stop func()
}

func start(t testing.TB, cfg agent.Config) *started {
	t.Helper()
	if cfg.ID == "" {
		cfg.ID = "A"
	}
	working := ready(make(chan struct{}))
	cfg.Transports = append(cfg.Transports, working)
	a, err := agent.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	var once sync.Once
	stop := func() { once.Do(func() { cancel(); assert.NoError(t, <-ended) }) }
	t.Cleanup(stop)
	<-working
	return &started{a, t, stop}
}

// ready is a transport that tells when requests may come.
type ready chan struct{}

func (r ready) Run(ctx context.Context, _ transport.Handler) error {
	close(r)
	<-ctx.Done()
	return nil
}

// ask sends a request and returns the reply's JSON.
func (a *started) ask(request string) string {
	a.t.Helper()
	r, err := transport.DecodeRequest([]byte(request))
	require.NoError(a.t, err)
	return string(a.Handle(a.t.Context(), r).Encode(transport.MaxReply))
}

// begin starts a task and returns its id.
func (a *started) begin(method string, arguments ...any) string {
	a.t.Helper()
	request, err := messaging.NewAgentRequest(method, "", arguments...)
	require.NoError(a.t, err)
	data, err := json.Marshal(request)
	require.NoError(a.t, err)
	text := a.ask(string(data))
	var reply messaging.AgentReply
	require.NoError(a.t, json.Unmarshal([]byte(text), &reply))
	id, running := reply.Task()
	require.True(a.t, running, text)
	require.True(a.t, uuid.Is(id))
	return id
}

func (a *started) task(method, id string) string {
	a.t.Helper()
	return a.ask(`{"method":"` + method + `","arguments":["` + id + `"]}`)
}

// result polls until a task has ended.
func (a *started) result(id string) (reply string) {
	a.t.Helper()
	require.Eventually(a.t, func() bool {
		reply = a.task("get_task", id)
		return reply != running(id)
	}, 20*time.Second, time.Millisecond)
	return reply
}

func running(id string) string {
	return `{"value":{"state":"running","agent_task_id":"` + id + `"}}`
}

func exception(text string) string {
	data, _ := json.Marshal(text)
	return `{"exception":{"message":` + string(data) + `}}`
}

func TestOwnMethods(t *testing.T) {
	a := start(t, agent.Config{})
	for request, want := range map[string]string{
		`{"method":"ping","arguments":[]}`:          `{"value":"pong"}`,
		`{"method":"ping","arguments":["a",{},3]}`:  `{"value":"pong"}`,
		`{"method":"noop"}`:                         `{"value":"nope"}`,
		`{"method":"info","arguments":null}`:        `{"value":{"api_version":1}}`,
		`{"method":"ping","arguments":{}}`:          exception("Action Failed ping: Extracting json arguments: arguments must be an array"),
		`{"method":"Ping"}`:                         exception("unknown message Ping"),
		`{"method":"mount_disc","arguments":["x"]}`: exception("unknown message mount_disc"),
		`{}`: exception("unknown message "),
		`{"method":"get_task"}`: exception("Action Failed get_task: Extracting method arguments from payload: " +
			"Not enough arguments, expected 1, got 0"),
		`{"method":"get_task","arguments":[7]}`: exception("Action Failed get_task: Extracting method arguments from payload: " +
			"Unmarshalling action argument: argument 1: must be a string, not a number"),
		`{"method":"get_task","arguments":["X"]}`:    exception("Action Failed get_task: Task with id X could not be found"),
		`{"method":"cancel_task","arguments":["X"]}`: exception("Action Failed cancel_task: Task with id X could not be found"),
	} {
		assert.Equal(t, want, a.ask(request), request)
	}
	assert.Equal(t, []string{"cancel_task", "get_task", "info", "noop", "ping"}, a.Methods())
	assert.Equal(t, "A", a.ID())
}

// errand runs a program of a shell in a process group of its own, and ends that when it is cancelled: a preview of what
// run_errand is.
func errand(ctx context.Context, script string) (map[string]any, error) {
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	return map[string]any{"exit_code": cmd.ProcessState.ExitCode(), "stdout": string(out)}, nil
}

func TestTasks(t *testing.T) {
	free := make(chan struct{})
	a := start(t, agent.Config{Methods: []action.Method{
		{Name: "slow", Async: true, Do: func(ctx context.Context, value any) (any, error) { <-free; return value, ctx.Err() }},
		{Name: "broken", Async: true, Do: func(context.Context) (any, error) { <-free; return nil, errors.New("it broke") }},
		{Name: "panics", Async: true, Do: func(context.Context) (any, error) { panic("oh") }},
		{Name: "own_id", Async: true, Do: func(ctx context.Context) (action.Request, error) { return action.RequestOf(ctx), nil }},
	}})
	// A result may look like anything.
	results := []any{"applied", nil, []any{}, map[string]any{"state": "running"}, map[string]any{"state": map[string]any{}}, 1.5}
	var ids []string
	for _, r := range results {
		ids = append(ids, a.begin("slow", r))
	}
	broken := a.begin("broken")
	for _, id := range append(ids, broken) {
		assert.Equal(t, running(id), a.task("get_task", id))
	}
	assert.Equal(t, exception("Action Failed cancel_task: not supported"), a.task("cancel_task", ids[0]))
	close(free)
	for i, id := range ids {
		want, err := json.Marshal(map[string]any{"value": results[i]})
		require.NoError(t, err)
		for range 3 {
			assert.JSONEq(t, string(want), a.result(id), "any number of times")
		}
	}
	want := exception("Action Failed get_task: Task " + broken + " result: it broke")
	assert.Equal(t, want, a.result(broken))
	assert.Equal(t, want, a.result(broken))
	assert.Equal(t, `{"value":"canceled"}`, a.task("cancel_task", broken), "without effect")

	id := a.begin("panics")
	assert.Equal(t, exception("Action Failed get_task: Task "+id+" result: internal error: oh"), a.result(id))
	id = a.begin("own_id")
	assert.Contains(t, a.result(id), `"TaskID":"`+id+`"`)
}

// What does not fit is told at once, and nothing is begun.
func TestBadArgumentsOfTask(t *testing.T) {
	a := start(t, agent.Config{Methods: []action.Method{
		{Name: "apply", Async: true, Do: func(context.Context, map[string]any) (string, error) { return "applied", nil }},
	}})
	assert.Equal(t, exception("Action Failed apply: Extracting method arguments from payload: Not enough arguments, expected 1, got 0"),
		a.ask(`{"method":"apply","arguments":[]}`))
	assert.Contains(t, a.ask(`{"method":"apply","arguments":["spec"]}`), "Action Failed apply: Extracting method arguments from payload")
}

// Ten tasks are taken at once, and each is answered for while the first still runs.
func TestManyTasks(t *testing.T) {
	free := make(chan struct{})
	a := start(t, agent.Config{Tasks: task.Config{Workers: 1}, Methods: []action.Method{
		{Name: "slow", Async: true, Do: func(context.Context) (string, error) { <-free; return "done", nil }},
	}})
	ids := make(chan string, 10)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { ids <- a.begin("slow") })
	}
	wg.Wait()
	close(ids)
	var all []string
	for id := range ids {
		assert.Equal(t, running(id), a.task("get_task", id))
		all = append(all, id)
	}
	close(free)
	for _, id := range all {
		assert.Equal(t, `{"value":"done"}`, a.result(id))
	}
}

func TestCancelledErrand(t *testing.T) {
	dir := t.TempDir()
	a := start(t, agent.Config{Tasks: task.Config{Workers: 1}, Methods: []action.Method{
		{Name: "run_errand", Async: true, Cancellable: true, Do: errand},
	}})
	first := a.begin("run_errand", `trap 'echo ended; exit 7' TERM; echo begun; touch '`+dir+`/begun'; while :; do sleep 0.01; done`)
	queued := a.begin("run_errand", `touch '`+dir+`/second'`)
	require.Eventually(t, func() bool { _, err := os.Stat(dir + "/begun"); return err == nil }, 20*time.Second, time.Millisecond)

	assert.Equal(t, `{"value":"canceled"}`, a.task("cancel_task", queued))
	assert.Equal(t, exception("Action Failed get_task: Task "+queued+" result: Task was cancelled by user request"), a.result(queued))
	assert.Equal(t, running(first), a.task("get_task", first), "the one that runs goes on")

	assert.Equal(t, `{"value":"canceled"}`, a.task("cancel_task", first))
	assert.JSONEq(t, `{"value":{"exit_code":7,"stdout":"begun\nended\n"}}`, a.result(first))
	next := a.begin("run_errand", "echo next")
	assert.JSONEq(t, `{"value":{"exit_code":0,"stdout":"next\n"}}`, a.result(next), "nothing is left of the cancellation")
	assert.NoFileExists(t, dir+"/second")
}

// A task that asks for the end of the process has its outcome from the next one, and is not done twice.
func TestPersistentTask(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bosh", "tasks.json")
	var done atomic.Int32
	begun := make(chan struct{}, 2)
	methods := []action.Method{{
		Name: "update_settings", Async: true, Secret: true,
		Do: func(ctx context.Context, _ map[string]any) (string, error) {
			done.Add(1)
			begun <- struct{}{}
			<-ctx.Done()
			return "", context.Cause(ctx)
		},
		Resume: func(ctx context.Context) (any, error) { return "ok", nil },
	}}
	a := start(t, agent.Config{Tasks: task.Config{Store: task.NewStore(file)}, Methods: methods})
	id := a.begin("update_settings", map[string]any{"trusted_certs": ""})
	<-begun
	a.stop()
	b := start(t, agent.Config{Tasks: task.Config{Store: task.NewStore(file)}, Methods: methods})
	assert.Equal(t, `{"value":"ok"}`, b.result(id))
	assert.Equal(t, int32(1), done.Load())
	b.stop()
	c := start(t, agent.Config{Tasks: task.Config{Store: task.NewStore(file)}, Methods: methods})
	assert.Equal(t, exception("Action Failed get_task: Task with id "+id+" could not be found"), c.task("get_task", id))
}

// A persistent task that waited for others when the process ended is done by the next one, with its arguments.
func TestPersistentTaskThatHadNotBegun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tasks.json")
	settings := make(chan string, 1)
	begun := make(chan struct{})
	methods := []action.Method{{
		Name: "update_settings", Async: true,
		Do:     func(_ context.Context, bus string) (string, error) { settings <- bus; return "ok", nil },
		Resume: func(context.Context) (any, error) { return "ok", nil },
	}, {
		Name: "compile_package", Async: true,
		Do: func(ctx context.Context) (string, error) { close(begun); <-ctx.Done(); return "", context.Cause(ctx) },
	}}
	a := start(t, agent.Config{Tasks: task.Config{Workers: 1, Store: task.NewStore(file)}, Methods: methods})
	a.begin("compile_package")
	<-begun
	id := a.begin("update_settings", "nats://other")
	a.stop()
	assert.Empty(t, settings)
	b := start(t, agent.Config{Tasks: task.Config{Store: task.NewStore(file)}, Methods: methods})
	assert.Equal(t, `{"value":"ok"}`, b.result(id))
	require.NotEmpty(t, settings, "who hears ok relies on it")
	assert.Equal(t, "nats://other", <-settings)
}

func TestProtocolDecides(t *testing.T) {
	a := start(t, agent.Config{Methods: []action.Method{
		{Name: "list_disk", Async: true, AsyncSince: 3, Do: func(ctx context.Context) (int, error) { return action.RequestOf(ctx).Protocol, nil }},
	}})
	assert.Equal(t, `{"value":2}`, a.ask(`{"protocol":2,"method":"list_disk"}`))
	assert.Equal(t, `{"value":0}`, a.ask(`{"method":"list_disk"}`))
	var reply messaging.AgentReply
	require.NoError(t, json.Unmarshal([]byte(a.ask(`{"protocol":"3","method":"list_disk"}`)), &reply))
	id, isTask := reply.Task()
	require.True(t, isTask)
	assert.Equal(t, `{"value":3}`, a.result(id))
}

// Tasks that hold large requests are refused when they are too many, as any other request.
func TestBusyWithLargeTasks(t *testing.T) {
	free := make(chan struct{})
	a := start(t, agent.Config{Tasks: task.Config{Load: 1 << 20}, Methods: []action.Method{{
		Name: "upload_blob", Async: true, Do: func(_ context.Context, payload string) (int, error) { <-free; return len(payload), nil },
	}}})
	payload := strings.Repeat("x", 600<<10)
	id := a.begin("upload_blob", payload)
	request := `{"method":"upload_blob","arguments":["` + payload + `"]}`
	assert.Equal(t, exception("Action Failed upload_blob: "+task.ErrBusy.Error()), a.ask(request))
	close(free)
	assert.Equal(t, `{"value":614400}`, a.result(id))
	a.result(a.begin("upload_blob", payload))
}

// However many requests are at work, others are refused rather than piled up, and those that are quick are answered.
func TestBusy(t *testing.T) {
	free, begun := make(chan struct{}), make(chan struct{}, 10)
	a := start(t, agent.Config{Busy: 1, Waiting: 1, Methods: []action.Method{
		{Name: "start", Do: func(context.Context) (string, error) { begun <- struct{}{}; <-free; return "started", nil }},
	}})
	replies := make(chan string, 3)
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 3 {
		wg.Go(func() { replies <- a.ask(`{"method":"start"}`) })
	}
	<-begun
	assert.Equal(t, exception("Action Failed start: too many requests are under way: ask again later"), <-replies)
	assert.Equal(t, `{"value":"pong"}`, a.ask(`{"method":"ping"}`))
	assert.Empty(t, begun, "one at a time")
	close(free)
	assert.Equal(t, `{"value":"started"}`, <-replies)
	assert.Equal(t, `{"value":"started"}`, <-replies)
}

// One that waits for its turn need not be waited for.
func TestBusyEnds(t *testing.T) {
	free, begun := make(chan struct{}), make(chan struct{})
	a := start(t, agent.Config{Busy: 1, Methods: []action.Method{
		{Name: "start", Do: func(context.Context) (string, error) { close(begun); <-free; return "started", nil }},
	}})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(free)
	wg.Go(func() { a.ask(`{"method":"start"}`) })
	<-begun
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("over"))
	reply := a.Handle(ctx, transport.Request{AgentRequest: messaging.AgentRequest{Method: "start"}})
	assert.EqualError(t, reply.Err, "Action Failed start: over")
}

// shortened is an error with a shorter text, as failures of scripts have.
type shortened struct{}

func (shortened) Error() string      { return strings.Repeat("long ", 300000) }
func (shortened) ShortError() string { return "short" }

func TestLongFailures(t *testing.T) {
	fail := func(context.Context) (any, error) { return nil, fmt.Errorf("wrapped: %w", shortened{}) }
	a := start(t, agent.Config{Methods: []action.Method{
		{Name: "direct", Do: fail}, {Name: "later", Async: true, Do: fail},
		{Name: "large", Do: func(context.Context) (string, error) { return strings.Repeat("x", 1<<20), nil }},
	}})
	assert.Equal(t, exception("Action Failed direct: short"), a.ask(`{"method":"direct"}`))
	id := a.begin("later")
	assert.Equal(t, exception("Action Failed get_task: Task "+id+" result: short"), a.result(id))
	assert.Equal(t, exception("Response exceeded maximum allowed length"), a.ask(`{"method":"large"}`))
}

func TestMethodsThatBreak(t *testing.T) {
	a := start(t, agent.Config{Methods: []action.Method{
		{Name: "panics", Do: func(context.Context) (any, error) { panic("oh") }},
		{Name: "no_json", Do: func(context.Context) (any, error) { return make(chan int), nil }},
	}})
	assert.Equal(t, exception("Action Failed panics: internal error: oh"), a.ask(`{"method":"panics"}`))
	assert.Contains(t, a.ask(`{"method":"no_json"}`), "Action Failed no_json: result has no JSON")
	assert.Equal(t, `{"value":"pong"}`, a.ask(`{"method":"ping"}`))
}

type failing struct{ err error }

func (f failing) Run(context.Context, transport.Handler) error { return f.err }

// idle is a transport to which nobody comes.
type idle struct{ ended chan struct{} }

func (i idle) Run(ctx context.Context, _ transport.Handler) error {
	<-ctx.Done()
	close(i.ended)
	return nil
}

func TestTransportThatFails(t *testing.T) {
	broken, other := errors.New("broken"), idle{make(chan struct{})}
	a, err := agent.New(agent.Config{ID: "A", Transports: []transport.Transport{other, failing{broken}}})
	require.NoError(t, err)
	assert.ErrorIs(t, a.Run(t.Context()), broken)
	<-other.ended
}

func TestConfigThatCannotWork(t *testing.T) {
	for text, cfg := range map[string]agent.Config{
		"ID must not": {}, "becomes part of a subject": {ID: "a.b"},
		"method ping is there twice": {ID: "A", Methods: []action.Method{{Name: "ping", Do: func(context.Context) (int, error) { return 0, nil }}}},
		"method x: Do is a int":      {ID: "A", Methods: []action.Method{{Name: "x", Do: 1}}},
	} {
		_, err := agent.New(cfg)
		assert.ErrorContains(t, err, text)
	}
	a, err := agent.New(agent.Config{ID: "A", Tasks: task.Config{Store: task.NewStore(t.TempDir())}})
	require.NoError(t, err)
	assert.ErrorContains(t, a.Run(t.Context()), "read persistent tasks")
}

// The stack of a task that broke is in the log, once, however often somebody asks for the task.
func TestBrokenTaskIsToldOnce(t *testing.T) {
	var log strings.Builder
	a := start(t, agent.Config{
		Logger:  slog.New(slog.NewTextHandler(&log, nil)),
		Methods: []action.Method{{Name: "panics", Async: true, Do: func(context.Context) (any, error) { panic("oh") }}},
	})
	id := a.begin("panics")
	a.result(id)
	a.result(id)
	a.stop()
	assert.Equal(t, 1, strings.Count(log.String(), "stack="), log.String())
}

// Who calls Handle needs no transport.
func TestWithoutTransports(t *testing.T) {
	a, err := agent.New(agent.Config{ID: "A", Methods: []action.Method{
		{Name: "later", Async: true, Do: func(context.Context) (string, error) { return "done", nil }},
	}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	s := &started{Agent: a, t: t}
	assert.Equal(t, `{"value":"done"}`, s.result(s.begin("later")))
	assert.Equal(t, `{"value":"done"}`, s.result(s.begin("later")), "it goes on")
	cancel()
	require.NoError(t, <-ended)
}
