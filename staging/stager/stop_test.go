package stager_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
	s := newSite(t)
	for _, path := range []string{"/buildpacks/ok", "/package", "/droplet"} {
		begun := make(chan struct{})
		s.cloud.handle(path, func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			_, _ = io.Copy(io.Discard, r.Body) // or the server would not see the client go
			<-r.Context().Done()
		})
		a := s.ask(s.request())
		<-begun
		require.NoError(t, messaging.StagingStop.Publish(s.conn, messaging.StagingStopMessage{AppID: "app-1"}))
		answer, _ := a.next()
		if path == "/droplet" {
			assert.Empty(t, answer.Error)
			answer, _ = a.next()
		}
		assert.Equal(t, "Error staging: task stopped", answer.Error, path)
		a.noMore()
		s.cloud.handle(path, nil)
	}
	for i := range 20 {
		request := s.request()
		a := s.ask(request)
		time.Sleep(time.Duration(i) * 2 * time.Millisecond) // any moment will do
		require.NoError(t, messaging.StagingStop.Publish(s.conn, messaging.StagingStopMessage{AppID: "app-1"}))
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
