package stager_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/messaging"
)

func TestDuplicateTask(t *testing.T) {
	g := newGate(t)
	s := newSite(t)
	s.buildpack("slow", stagetest.Scripts("exit 0", g.script(), ""))
	first := s.ask(s.request("slow"))
	first.next()
	second := s.ask(s.request("slow"))
	answer, _ := second.next()
	assert.Equal(t, "Error staging: a task with this id is running", answer.Error)
	g.open(t)
	result, _ := first.next()
	assert.Empty(t, result.Error)
	first.noMore()
	second.noMore()
}

func TestStop(t *testing.T) {
	for _, test := range []struct {
		name string
		stop func(*site) error
	}{
		{"staging.stop", func(s *site) error {
			return messaging.StagingStop.Publish(s.conn, messaging.StagingStopMessage{AppID: "app-1"})
		}},
		{"dea.stop of the whole app", func(s *site) error { return s.conn.Publish("dea.stop", []byte(`{"droplet":"app-1"}`)) }},
		{"shutdown", func(s *site) error { go s.stop(); return nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGate(t)
			s := newSite(t)
			s.buildpack("slow", stagetest.Scripts("exit 0", "setsid sleep 1000 & "+g.script(), ""))
			a := s.ask(s.request("slow"))
			setup, _ := a.next()
			assert.Empty(t, setup.Error)
			soon(t, "compile", g.begun)
			require.NoError(t, s.conn.Publish("dea.stop", []byte(`{"droplet":"app-1","indices":[0]}`)))
			require.NoError(t, s.conn.Publish("staging.stop", []byte(`{"app_id":"another"}`)))
			require.NoError(t, s.conn.Flush())
			require.NoError(t, test.stop(s))
			answer, _ := a.next()
			assert.Equal(t, messaging.StagingAnswer{TaskID: "task-1", AppID: "app-1", Error: "Error staging: task stopped"}, answer)
			a.noMore()
			assert.Empty(t, s.cloud.posted("/droplet").data)
			assert.Empty(t, s.starts)
		})
	}
}

// TestStopAtAnyMoment: one or two answers, the last of them an error or a success, and nothing left.
func TestStopAtAnyMoment(t *testing.T) {
	backend := &slowBackend{entered: make(chan struct{}, 1)}
	s := newSite(t, func(s *site) {
		backend.Backend = s.parts.Backend
		s.parts.Backend = backend
	})
	stop := func() {
		require.NoError(t, messaging.StagingStop.Publish(s.conn, messaging.StagingStopMessage{AppID: "app-1"}))
	}
	ends := func(name string, a *asker, answers int) {
		t.Helper()
		for range answers - 1 {
			answer, _ := a.next()
			assert.Empty(t, answer.Error, name)
		}
		answer, _ := a.next()
		assert.Equal(t, messaging.StagingAnswer{TaskID: "task-1", AppID: "app-1", Error: "Error staging: task stopped"}, answer, name)
		a.noMore()
		assert.Empty(t, s.starts)
	}

	// What goes over HTTP, in set-up, and when droplet and cache are delivered.
	for _, test := range []struct {
		path    string
		answers int
	}{{"/buildpacks/ok", 1}, {"/package", 1}, {"/old_cache", 1}, {"/droplet", 2}, {"/jobs/j", 2}, {"/cache", 2}} {
		path := test.path
		begun := make(chan struct{})
		var once sync.Once
		s.cloud.handle(path, func(_ http.ResponseWriter, r *http.Request) {
			once.Do(func() { close(begun) })
			_, _ = io.Copy(io.Discard, r.Body) // or the server would not see the client go
			<-r.Context().Done()
		})
		if path == "/jobs/j" {
			s.cloud.handle("/droplet", func(w http.ResponseWriter, r *http.Request) {
				s.cloud.receive(w, r)
				fmt.Fprintf(w, `{"metadata":{"url":%q},"entity":{"status":"queued"}}`, s.cloud.url("/jobs/j"))
			})
		}
		request := s.request()
		request.BuildpackCacheDownloadURI = s.cloud.url("/old_cache")
		a := s.ask(request)
		<-begun
		stop()
		ends(path, a, test.answers)
		s.cloud.handle(path, nil)
		s.cloud.handle("/droplet", nil)
	}

	// The container that is being made.
	backend.slow.Store(true)
	a := s.ask(s.request())
	<-backend.entered
	stop()
	ends("container", a, 1)
	backend.slow.Store(false)

	// What runs in the container, with a process that tries to stay.
	for n, script := range []string{"detect", "compile", "release"} {
		g := newGate(t)
		files := stagetest.Scripts("exit 0", "exit 0", "exit 0")
		files["bin/"+script] = "#!/bin/sh\nsetsid sleep 1000 &\n" + g.script() + "\n"
		key := fmt.Sprint("gated-", n)
		s.buildpack(key, files)
		a := s.ask(s.request(key))
		soon(t, script, g.begun)
		stop()
		ends(script, a, 2)
	}

	// And whatever lies between.
	for i := range 20 {
		a := s.ask(s.request())
		time.Sleep(time.Duration(i) * 2 * time.Millisecond) // any moment will do
		stop()
		answer, _ := a.next()
		if answer.Error == "" {
			answer, _ = a.next()
		}
		if answer.Error != "" {
			assert.Equal(t, "Error staging: task stopped", answer.Error)
		}
		a.noMore()
	}
}

// slowBackend makes containers only when the caller gives up, while slow is set.
type slowBackend struct {
	container.Backend
	slow    atomic.Bool
	entered chan struct{}
}

func (b *slowBackend) Create(ctx context.Context, spec container.Spec) (container.Container, error) {
	if !b.slow.Load() {
		return b.Backend.Create(ctx, spec)
	}
	b.entered <- struct{}{}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// TestStepsTakeTheirTime: a container that nobody makes is not waited for without end, and the answers say for what.
func TestStepsTakeTheirTime(t *testing.T) {
	backend := &slowBackend{entered: make(chan struct{}, 1)}
	backend.slow.Store(true)
	s := newSite(t, func(s *site) {
		backend.Backend = s.parts.Backend
		s.parts.Backend, s.cfg.StepTimeout = backend, 300*time.Millisecond
	})
	setup, result := s.ask(s.request()).both()
	const want = "Error staging: waited for container longer than 300ms"
	assert.Equal(t, want, setup.Error)
	assert.Equal(t, want, result.Error)
}

// TestStopBeforeStart: a stop never hits the task whose request follows it.
func TestStopBeforeStart(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.parts.Ledger = resources.NewLedger(resources.Capacity{MemoryBytes: 1 << 50, DiskBytes: 1 << 50})
		s.parts.Start = nil
	})
	// A stack that does not exist ends a task early: what counts is that it is not stopped.
	var askers []*asker
	for i := range 100 {
		inbox := nats.NewInbox()
		sub, err := s.conn.SubscribeSync(inbox)
		require.NoError(t, err)
		request := s.request()
		request.TaskID, request.Stack = messaging.Text(fmt.Sprint("task-", i)), "none"
		data, err := messaging.StagingStart("x").Encode(request)
		require.NoError(t, err)
		require.NoError(t, messaging.StagingStop.Publish(s.conn, messaging.StagingStopMessage{AppID: messaging.Text(fmt.Sprint("app-", i))}))
		data = []byte(strings.Replace(string(data), `"app_id":"app-1"`, fmt.Sprintf(`"app_id":"app-%d"`, i), 1))
		require.NoError(t, s.conn.PublishRequest("staging.0-stager.start", inbox, data))
		askers = append(askers, &asker{s, sub})
	}
	for i, a := range askers {
		answer, _ := a.next()
		assert.Equal(t, "Error staging: Stack none does not exist", answer.Error, i)
	}
}

// TestAnswersSurviveALostServer: they are sent when it is back.
func TestAnswersSurviveALostServer(t *testing.T) {
	g := newGate(t)
	s := newSite(t)
	s.buildpack("slow", stagetest.Scripts("exit 0", g.script(), ""))
	a := s.ask(s.request("slow"))
	a.next()
	soon(t, "compile", g.begun)
	s.server.Stop()
	soon(t, "disconnected", func() bool { return !s.parts.Conn.IsConnected() && !s.conn.IsConnected() })
	s.server.Start()
	soon(t, "the Cloud Controller is back", s.conn.IsConnected)
	require.NoError(t, s.conn.Flush())
	g.open(t)
	result, _ := a.next()
	assert.Empty(t, result.Error)
	a.noMore()
}
