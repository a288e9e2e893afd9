package task_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/agent/task"
	"github.com/deakit/deakit/internal/uuid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started runs a manager for as long as the test does, or until the returned function is called.
func started(t *testing.T, cfg task.Config) (*task.Manager, func()) {
	t.Helper()
	m := task.New(cfg)
	require.NoError(t, m.Load())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	stop := func() {
		cancel()
		if err, ok := <-ended; ok {
			assert.NoError(t, err)
			close(ended)
		}
	}
	t.Cleanup(stop)
	return m, stop
}

// outcome waits for the end of a task.
func outcome(t *testing.T, m *task.Manager, id string) task.Outcome {
	t.Helper()
	var result task.Outcome
	require.Eventually(t, func() bool {
		o, done, err := m.Get(id)
		result = o
		return assert.NoError(t, err) && done
	}, 20*time.Second, time.Millisecond)
	return result
}

func start(t *testing.T, m *task.Manager, spec task.Spec) string {
	t.Helper()
	id, err := m.Start(spec)
	require.NoError(t, err)
	require.True(t, uuid.Is(id))
	return id
}

func value(text string) task.Func {
	return func(context.Context, string) (json.RawMessage, error) { return json.RawMessage(text), nil }
}

// until works until a channel is closed or the task is cancelled.
func until(c <-chan struct{}) task.Func {
	return func(ctx context.Context, _ string) (json.RawMessage, error) {
		select {
		case <-c:
			return json.RawMessage(`"free"`), nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func TestOutcomes(t *testing.T) {
	m, _ := started(t, task.Config{})
	broken := errors.New("broken")
	for _, c := range []struct {
		do   task.Func
		want task.Outcome
	}{
		{value(`{"a":1}`), task.Outcome{Value: json.RawMessage(`{"a":1}`)}},
		{func(context.Context, string) (json.RawMessage, error) { return nil, nil }, task.Outcome{}},
		{func(context.Context, string) (json.RawMessage, error) { return json.RawMessage("1"), broken }, task.Outcome{Err: broken}},
	} {
		id := start(t, m, task.Spec{Method: "m", Do: c.do})
		for range 3 {
			assert.Equal(t, c.want, outcome(t, m, id), "any number of times")
		}
		assert.NoError(t, m.Cancel(id), "of an ended task nothing is wanted")
		assert.Equal(t, c.want, outcome(t, m, id))
	}
	id := start(t, m, task.Spec{Do: func(_ context.Context, id string) (json.RawMessage, error) { return json.Marshal(id) }})
	assert.JSONEq(t, `"`+id+`"`, string(outcome(t, m, id).Value))
	id = start(t, m, task.Spec{Do: func(context.Context, string) (json.RawMessage, error) { panic("oh") }})
	assert.EqualError(t, outcome(t, m, id).Err, "internal error: oh")
}

func TestUnknownTask(t *testing.T) {
	m, _ := started(t, task.Config{})
	_, _, err := m.Get("7")
	var unknown *task.UnknownError
	require.ErrorAs(t, err, &unknown)
	assert.EqualError(t, err, "Task with id 7 could not be found")
	assert.ErrorAs(t, m.Cancel("7"), &unknown)
}

// Many tasks are taken at once, and each can be asked for while the first still runs.
func TestNobodyWaitsForATask(t *testing.T) {
	m, _ := started(t, task.Config{Workers: 2})
	free := make(chan struct{})
	var ids []string
	for range 10 {
		ids = append(ids, start(t, m, task.Spec{Do: until(free)}))
	}
	for _, id := range ids {
		_, done, err := m.Get(id)
		require.NoError(t, err)
		assert.False(t, done)
	}
	close(free)
	for _, id := range ids {
		assert.JSONEq(t, `"free"`, string(outcome(t, m, id).Value))
	}
}

func TestWorkersAndOrder(t *testing.T) {
	m, _ := started(t, task.Config{Workers: 1})
	free := make(chan struct{})
	var order []int // of one worker
	ids := []string{start(t, m, task.Spec{Do: until(free)})}
	for i := range 5 {
		ids = append(ids, start(t, m, task.Spec{Do: func(context.Context, string) (json.RawMessage, error) {
			order = append(order, i)
			return nil, nil
		}}))
	}
	close(free)
	outcome(t, m, ids[5])
	assert.Equal(t, []int{0, 1, 2, 3, 4}, order)
}

func TestCancel(t *testing.T) {
	m, _ := started(t, task.Config{Workers: 1})
	never := make(chan struct{})
	seen := make(chan error, 1)
	running := start(t, m, task.Spec{Cancellable: true, Do: func(ctx context.Context, _ string) (json.RawMessage, error) {
		seen <- nil
		<-ctx.Done()
		seen <- context.Cause(ctx)
		assert.True(t, task.Cancelled(ctx))
		return json.RawMessage(`{"exit_code":143}`), nil
	}})
	queued := start(t, m, task.Spec{Cancellable: true, Do: until(never)})
	fixed := start(t, m, task.Spec{Do: value("1")})
	<-seen

	// Of those that wait the right one goes, and the one that runs goes on.
	require.NoError(t, m.Cancel(queued))
	assert.ErrorIs(t, outcome(t, m, queued).Err, task.ErrCancelled)
	assert.Empty(t, seen)
	assert.ErrorIs(t, m.Cancel(fixed), task.ErrNotSupported)
	_, done, err := m.Get(fixed)
	require.NoError(t, err)
	assert.False(t, done)

	require.NoError(t, m.Cancel(running))
	assert.ErrorIs(t, <-seen, task.ErrCancelled)
	assert.JSONEq(t, `{"exit_code":143}`, string(outcome(t, m, running).Value), "what it returns counts")
	assert.JSONEq(t, "1", string(outcome(t, m, fixed).Value))
	require.NoError(t, m.Cancel(running))
	require.NoError(t, m.Cancel(queued))
}

func TestTooManyWait(t *testing.T) {
	m, _ := started(t, task.Config{Workers: 1, Waiting: 2})
	free, begun := make(chan struct{}), make(chan struct{})
	ids := []string{start(t, m, task.Spec{Do: func(ctx context.Context, id string) (json.RawMessage, error) {
		close(begun)
		return until(free)(ctx, id)
	}})}
	<-begun
	for range 2 {
		ids = append(ids, start(t, m, task.Spec{Cancellable: true, Do: until(free)}))
	}
	_, err := m.Start(task.Spec{Do: value("1")})
	require.ErrorIs(t, err, task.ErrBusy)
	require.NoError(t, m.Cancel(ids[2]))
	ids[2] = start(t, m, task.Spec{Do: value("1")})
	close(free)
	for _, id := range ids {
		assert.NoError(t, outcome(t, m, id).Err)
	}
}

// Tasks are refused by what they hold, too, and one alone may hold any amount.
func TestTooMuchWaits(t *testing.T) {
	m, _ := started(t, task.Config{Workers: 1, Load: 100})
	free := make(chan struct{})
	first := start(t, m, task.Spec{Size: 200, Do: until(free)})
	_, err := m.Start(task.Spec{Size: 1, Do: value("1")})
	require.ErrorIs(t, err, task.ErrBusy)
	close(free)
	outcome(t, m, first)
	never := make(chan struct{})
	waiting := start(t, m, task.Spec{Size: 60, Cancellable: true, Do: until(never)})
	second := start(t, m, task.Spec{Size: 40, Cancellable: true, Do: until(never)})
	_, err = m.Start(task.Spec{Size: 1, Do: value("1")})
	require.ErrorIs(t, err, task.ErrBusy)
	require.NoError(t, m.Cancel(second))
	third := start(t, m, task.Spec{Size: 40, Do: value("1")})
	require.NoError(t, m.Cancel(waiting))
	assert.NoError(t, outcome(t, m, third).Err)
}

func TestOutcomesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		m := task.New(task.Config{Workers: 1, Keep: 3, KeepBytes: 100})
		ended := make(chan struct{})
		go func() { defer close(ended); assert.NoError(t, m.Run(ctx)) }()
		known := func(ids ...string) (n int) {
			for _, id := range ids {
				if _, _, err := m.Get(id); err == nil {
					n++
				}
			}
			return n
		}
		var ids []string
		for range 5 {
			ids = append(ids, start(t, m, task.Spec{Do: value("1")}))
			synctest.Wait()
		}
		assert.Equal(t, 0, known(ids[:2]...), "the oldest two are gone")
		assert.Equal(t, 3, known(ids[2:]...))

		large := start(t, m, task.Spec{Do: value(`"` + string(bytes.Repeat([]byte("a"), 200)) + `"`)})
		synctest.Wait()
		assert.Equal(t, 0, known(ids...))
		assert.Equal(t, 1, known(large), "one is kept whatever its size")
		failed := start(t, m, task.Spec{Do: func(context.Context, string) (json.RawMessage, error) {
			return nil, errors.New(string(bytes.Repeat([]byte("b"), 99)))
		}})
		synctest.Wait()
		assert.Equal(t, 0, known(large))
		time.Sleep(24*time.Hour - time.Second)
		assert.Equal(t, 1, known(failed))
		time.Sleep(2 * time.Second)
		assert.Equal(t, 0, known(failed))
		cancel()
		<-ended
	})
}

func TestEnd(t *testing.T) {
	m, stop := started(t, task.Config{Workers: 1})
	begun, ran := make(chan struct{}), make(chan struct{}, 1)
	never := make(chan struct{})
	running := start(t, m, task.Spec{Do: func(ctx context.Context, id string) (json.RawMessage, error) {
		close(begun)
		return until(never)(ctx, id)
	}})
	waiting := start(t, m, task.Spec{Do: func(context.Context, string) (json.RawMessage, error) { ran <- struct{}{}; return nil, nil }})
	<-begun
	stop()
	result, done, err := m.Get(running)
	require.NoError(t, err)
	assert.True(t, done, "Run waits for it")
	assert.ErrorIs(t, result.Err, context.Canceled)
	_, done, err = m.Get(waiting)
	require.NoError(t, err)
	assert.False(t, done)
	assert.Empty(t, ran)
	_, err = m.Start(task.Spec{Do: value("1")})
	assert.ErrorIs(t, err, task.ErrEnding)
}

// The file has the form of the Go agent, and a task is in it exactly while it has not ended.
func TestPersistentTask(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bosh", "tasks.json")
	m, _ := started(t, task.Config{Store: task.NewStore(file)})
	free := make(chan struct{})
	request := json.RawMessage(`{"method":"update_settings","arguments":[{}]}`)
	begun := make(chan struct{})
	id := start(t, m, task.Spec{Method: "update_settings", Persistent: request, Do: func(ctx context.Context, id string) (json.RawMessage, error) {
		close(begun)
		return until(free)(ctx, id)
	}})
	<-begun
	other := start(t, m, task.Spec{Method: "other", Do: until(free)})
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.JSONEq(t, fmt.Sprintf(`{%q:{"TaskID":%q,"Method":"update_settings",`+
		`"Payload":"eyJtZXRob2QiOiJ1cGRhdGVfc2V0dGluZ3MiLCJhcmd1bWVudHMiOlt7fV19"}}`, id, id), string(content))
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode(), "requests hold secrets")
	close(free)
	outcome(t, m, id)
	outcome(t, m, other)
	content, err = os.ReadFile(file)
	require.NoError(t, err)
	assert.JSONEq(t, `{}`, string(content))
}

// A task that the end of the process interrupts is resumed by the next one, and not done again. One that had not begun is done then:
// nobody may be told that it was.
func TestResume(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tasks.json")
	never, begun := make(chan struct{}), make(chan struct{}, 3)
	do := func(ctx context.Context, id string) (json.RawMessage, error) {
		begun <- struct{}{}
		return until(never)(ctx, id)
	}
	persistent := json.RawMessage(`{}`)
	first, stop := started(t, task.Config{Workers: 1, Store: task.NewStore(file)})
	running := start(t, first, task.Spec{Method: "update_settings", Persistent: persistent, Do: do})
	<-begun
	queued := start(t, first, task.Spec{Method: "update_settings", Persistent: json.RawMessage(`{"queued":true}`), Do: do})
	forgotten := start(t, first, task.Spec{Method: "gone", Persistent: persistent, Do: do})
	plain := start(t, first, task.Spec{Method: "update_settings", Do: do})
	stop()

	resumed := func(method string) (task.Func, bool) { return value(`"ok"`), method == "update_settings" }
	requests := make(chan string, 2)
	repeated := func(method string, request json.RawMessage) (task.Func, bool) {
		requests <- method + string(request)
		return value(`"done"`), method == "update_settings"
	}
	second, stop := started(t, task.Config{Store: task.NewStore(file), Resume: resumed, Repeat: repeated})
	assert.JSONEq(t, `"ok"`, string(outcome(t, second, running).Value))
	assert.JSONEq(t, `"done"`, string(outcome(t, second, queued).Value))
	assert.ElementsMatch(t, []string{`update_settings{"queued":true}`, "gone{}"}, []string{<-requests, <-requests})
	for _, id := range []string{forgotten, plain} {
		_, _, err := second.Get(id)
		assert.Error(t, err)
	}
	stop()
	assert.Empty(t, begun)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.JSONEq(t, `{}`, string(content))
	third, _ := started(t, task.Config{Store: task.NewStore(file), Resume: resumed})
	_, _, err = third.Get(running)
	assert.Error(t, err, "it had ended")
}

// One that begins itself is repeated until it has said so, and resumed from then on.
func TestBegun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tasks.json")
	never, at, mayBegin := make(chan struct{}), make(chan error), make(chan struct{})
	do := func(ctx context.Context, id string) (json.RawMessage, error) {
		at <- nil
		select {
		case <-mayBegin:
			at <- task.Begun(ctx)
		case <-ctx.Done():
		}
		return until(never)(ctx, id)
	}
	cfg := task.Config{
		Resume: func(string) (task.Func, bool) { return value(`"resumed"`), true },
		Repeat: func(string, json.RawMessage) (task.Func, bool) { return value(`"repeated"`), true },
	}
	for _, want := range []string{`"repeated"`, `"resumed"`} {
		cfg.Store = task.NewStore(file)
		first, stop := started(t, cfg)
		id := start(t, first, task.Spec{Method: "m", Persistent: json.RawMessage(`{}`), BeginsItself: true, Do: do})
		require.NoError(t, <-at)
		if want == `"resumed"` {
			close(mayBegin)
			require.NoError(t, <-at)
		}
		stop()
		cfg.Store = task.NewStore(file)
		second, stop := started(t, cfg)
		assert.Equal(t, want, string(outcome(t, second, id).Value))
		stop()
	}
	require.NoError(t, task.Begun(t.Context()), "outside of tasks it means nothing")
}

// A persistent task that was cancelled while it waited does not come back.
func TestCancelledPersistentTask(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tasks.json")
	m, _ := started(t, task.Config{Workers: 1, Store: task.NewStore(file)})
	free := make(chan struct{})
	first := start(t, m, task.Spec{Do: until(free)})
	id := start(t, m, task.Spec{Method: "m", Persistent: json.RawMessage(`{}`), Cancellable: true, Do: value("1")})
	require.NoError(t, m.Cancel(id))
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.JSONEq(t, `{}`, string(content))
	close(free)
	outcome(t, m, first)
}

func TestFileThatMakesNoSense(t *testing.T) {
	for _, content := range []string{`{`, `[]`, `{"a":7}`, "\x00\x01"} {
		var log bytes.Buffer
		file := filepath.Join(t.TempDir(), "tasks.json")
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		m := task.New(task.Config{Store: task.NewStore(file), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, m.Load())
		assert.Contains(t, log.String(), "agent.tasks.unreadable")
		kept, err := os.ReadFile(file + ".unreadable")
		require.NoError(t, err)
		assert.Equal(t, content, string(kept))
	}
	dir := t.TempDir()
	assert.Error(t, task.New(task.Config{Store: task.NewStore(dir)}).Load(), "a directory")
}

// Where nothing can be written, a persistent task is refused, and not run.
func TestTaskThatCannotBeWrittenDown(t *testing.T) {
	dir := t.TempDir()
	m, _ := started(t, task.Config{Store: task.NewStore(filepath.Join(dir, "file", "tasks.json"))})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	_, err := m.Start(task.Spec{Method: "m", Persistent: json.RawMessage(`{}`), Do: func(context.Context, string) (json.RawMessage, error) {
		panic("it was run")
	}})
	assert.ErrorContains(t, err, "write persistent tasks")
	id := start(t, m, task.Spec{Method: "m", Do: value("1")})
	assert.JSONEq(t, "1", string(outcome(t, m, id).Value))
}
