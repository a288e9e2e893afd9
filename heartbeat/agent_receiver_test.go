package heartbeat_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// receive runs an AgentReceiver, subscribed, until the test ends.
func receive(t *testing.T, server *messagingtest.Server, cfg heartbeat.AgentReceiverConfig) <-chan heartbeat.AgentEvent {
	t.Helper()
	events := make(chan heartbeat.AgentEvent, 10_000)
	cfg.Observe = func(event heartbeat.AgentEvent) { events <- event }
	conn := server.Connect()
	r, err := heartbeat.NewAgentReceiver(conn, cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	require.Eventually(t, func() bool { return conn.NumSubscriptions() == 3 }, 30*time.Second, time.Millisecond)
	require.NoError(t, conn.Flush())
	return events
}

// nextEvent is the next one that was told, of the type that is wanted.
func nextEvent[E heartbeat.AgentEvent](t *testing.T, events <-chan heartbeat.AgentEvent) E {
	t.Helper()
	select {
	case event := <-events:
		require.IsType(t, *new(E), event)
		return event.(E)
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was told")
		panic("unreachable")
	}
}

func TestWhatAgentsTell(t *testing.T) {
	server := messagingtest.NewServer(t)
	events := receive(t, server, heartbeat.AgentReceiverConfig{})
	a := sender(t, server.Connect(), heartbeat.AgentConfig{Interval: time.Hour, AlertTimes: 3})
	runAgent(t, a)
	beat := nextEvent[heartbeat.AgentBeat](t, events)
	assert.Equal(t, "agent-1", beat.ID)
	assert.Equal(t, heartbeat.Alive, beat.Life)
	assert.True(t, beat.Before.Seen.IsZero())
	assert.WithinDuration(t, time.Now(), beat.Seen, time.Minute)
	assert.Equal(t, messaging.AgentHeartbeat{
		Job: new("router"), Index: new(0), JobState: messaging.JobRunning, Processes: new(3),
		Vitals: messaging.AgentVitals{Load: []messaging.Text{"0.10", "0.20", "0.30"}, Uptime: &messaging.AgentUptime{Seconds: 7}},
	}, beat.Beat)

	for _, id := range []string{"1", "2"} {
		alert := messaging.AgentAlert{ID: id, Severity: 1, Title: "nats - does not exist - restart", CreatedAt: 1304319946}
		require.NoError(t, a.Alert(alert))
		told := nextEvent[heartbeat.AgentAlerted](t, events)
		assert.Equal(t, alert, told.Alert)
		assert.Equal(t, "agent-1", told.ID)
		assert.Equal(t, messaging.JobRunning, told.Beat.JobState)
	}
	_, repeated, _ := healthMonitor(t, server)
	for range 2 { // the third time of both
		next(t, repeated)
	}
	require.NoError(t, a.Shutdown(t.Context()))
	left := nextEvent[heartbeat.AgentLeft](t, events)
	assert.Equal(t, heartbeat.Leaving, left.Life)
	require.NoError(t, a.Shutdown(t.Context()))
	require.NoError(t, a.Alert(messaging.AgentAlert{ID: "3", Title: "x", CreatedAt: 1}), "severity 0 is one")
	nextEvent[heartbeat.AgentAlerted](t, events)
}

// What cannot be read is dropped and told in the log, and harms nobody.
func TestHostileAgents(t *testing.T) {
	server := messagingtest.NewServer(t)
	log := make(journal, 1000)
	monitor := heartbeat.NewAgentMonitor(heartbeat.AgentMonitorConfig{MaxUnlisted: 2})
	monitor.Manage([]string{"good"}, time.Now())
	events := receive(t, server, heartbeat.AgentReceiverConfig{Monitor: monitor, Logger: slog.New(slog.NewJSONHandler(log, nil))})
	conn := server.Connect()
	const alert = `{"id":"1","severity":1,"title":"t","created_at":1,"summary":"`
	for _, bad := range []struct{ subject, data, reason string }{
		{"heartbeat.evil", "", "is empty"},
		{"heartbeat.evil", "{", "not valid JSON"},
		{"heartbeat.evil", "null", "is empty"},
		{"heartbeat.evil", `[]`, "must not be a array"},
		{"heartbeat.evil", `{"number_of_processes":"secret"}`, "must not be a string"},
		{"heartbeat.evil", `{"vitals":{"uptime":{"secs":"secret"}}}`, "is not a number"},
		{"heartbeat.evil", strings.Repeat(`[`, 8<<10), "not valid JSON"},
		{"heartbeat.evil", `{"deployment":"` + strings.Repeat("x", 8<<10) + `"}`, "more than the 8192 bytes"},
		{"heartbeat." + strings.Repeat("x", 257), "{}", "is no id"},
		{"shutdown.evil", strings.Repeat("x", 9<<10), "more than the 8192 bytes"},
		{"alert.evil", `{}`, "id is required"},
		{"alert.evil", `{"id":"1","severity":-1,"title":"t","created_at":1}`, "severity"},
		{"alert.evil", `{"id":"1","severity":"1","title":"t","created_at":1}`, "severity must not be a string"},
		{"alert.evil", `{"id":"1","severity":0.5,"title":"t","created_at":1}`, "severity"},
		{"alert.evil", `{"id":"1","title":"t","created_at":1}`, "severity"},
		{"alert.evil", `{"id":"1","severity":1,"created_at":1}`, "title"},
		{"alert.evil", `{"id":"1","severity":1,"title":"t"}`, "created_at"},
		{"alert.evil", alert + strings.Repeat("x", 64<<10) + `"}`, "more than the 65536 bytes"},
	} {
		require.NoError(t, conn.Publish("hm.agent."+bad.subject, []byte(bad.data)))
		entry := log.next(t)
		assert.Equal(t, "heartbeat.refused", entry["msg"])
		assert.Equal(t, "hm.agent."+bad.subject, entry["subject"])
		assert.Contains(t, entry["error"], bad.reason, "%.80s", bad.data)
	}
	require.NoError(t, conn.Publish("hm.agent.heartbeat.a.b", []byte("{}"))) // no subject of an agent
	require.NoError(t, conn.Publish("hm.agent.shutdown.nobody", nil))
	require.NoError(t, conn.Publish("hm.agent.heartbeat", nil))
	assert.Len(t, monitor.Agents(time.Now()), 1, "nobody was made known by what was refused")

	for i := range 1000 {
		require.NoError(t, conn.Publish(fmt.Sprintf("hm.agent.heartbeat.evil-%d", i), []byte(`{"job_state":"running"}`)))
	}
	require.NoError(t, conn.Publish("hm.agent.heartbeat.good", []byte(`{"job_state":"failing","index":"7","x":1}`)))
	for _, id := range []string{"evil-0", "evil-1", "good"} {
		assert.Equal(t, id, nextEvent[heartbeat.AgentBeat](t, events).ID)
	}
	assert.Contains(t, log.next(t)["error"], "too many agents")
	assert.Empty(t, log, "once")
	good, _ := monitor.Agent("good", time.Now())
	assert.Equal(t, 7, *good.Beat.Index)
	assert.Equal(t, messaging.JobFailing, good.Beat.JobState)
	assert.False(t, good.Healthy())
	require.NoError(t, conn.Publish("hm.agent.shutdown.good", []byte("\x00"))) // any payload will do
	nextEvent[heartbeat.AgentLeft](t, events)
}

func TestManyAgentsAtOnce(t *testing.T) {
	server := messagingtest.NewServer(t)
	monitor := heartbeat.NewAgentMonitor(heartbeat.AgentMonitorConfig{})
	events := receive(t, server, heartbeat.AgentReceiverConfig{Monitor: monitor})
	const agents, beats = 50, 20
	var work sync.WaitGroup
	for i := range agents {
		conn := server.Connect()
		work.Go(func() {
			id := fmt.Sprint("agent-", i)
			for n := range beats {
				assert.NoError(t, messaging.HMAgentHeartbeat(id).Publish(conn, messaging.AgentHeartbeat{Index: &n}))
				monitor.Agents(time.Now())
				monitor.Check(time.Now())
			}
		})
	}
	work.Wait()
	next := map[string]int{}
	for range agents * beats {
		beat := nextEvent[heartbeat.AgentBeat](t, events)
		assert.Equal(t, next[beat.ID], *beat.Beat.Index, "in order")
		next[beat.ID]++
	}
	assert.Len(t, monitor.Agents(time.Now()), agents)
}

func TestListenToOneAgent(t *testing.T) {
	server := messagingtest.NewServer(t)
	events := receive(t, server, heartbeat.AgentReceiverConfig{Agent: "a"})
	conn := server.Connect()
	for _, id := range []string{"b", "a", "b", "a"} {
		require.NoError(t, messaging.HMAgentHeartbeat(id).Publish(conn, messaging.AgentHeartbeat{}))
	}
	for range 2 {
		assert.Equal(t, "a", nextEvent[heartbeat.AgentBeat](t, events).ID)
	}
}

// After the server was away, agents are heard again.
func TestAgentReceiverOutlivesServer(t *testing.T) {
	server := messagingtest.NewServer(t)
	server.Stop()
	conn := server.Connect()
	events := make(chan heartbeat.AgentEvent, 10_000)
	r, err := heartbeat.NewAgentReceiver(conn, heartbeat.AgentReceiverConfig{Observe: func(event heartbeat.AgentEvent) { events <- event }})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	server.Start()
	runAgent(t, sender(t, server.Connect(), heartbeat.AgentConfig{Interval: 10 * time.Millisecond}))
	nextEvent[heartbeat.AgentBeat](t, events)
	server.Stop()
	require.Eventually(t, func() bool { return !conn.IsConnected() }, 30*time.Second, time.Millisecond)
	for len(events) > 0 {
		<-events
	}
	server.Start()
	nextEvent[heartbeat.AgentBeat](t, events)
	cancel()
	assert.NoError(t, <-ended)
	assert.Zero(t, conn.NumSubscriptions())
}

func TestAgentReceiverOfAClosedConnection(t *testing.T) {
	server := messagingtest.NewServer(t)
	conn := server.Connect()
	r, err := heartbeat.NewAgentReceiver(conn, heartbeat.AgentReceiverConfig{Observe: func(heartbeat.AgentEvent) {}})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(t.Context()) }()
	require.Eventually(t, func() bool { return conn.NumSubscriptions() == 3 }, 30*time.Second, time.Millisecond)
	conn.Close()
	require.ErrorIs(t, <-ended, nats.ErrConnectionClosed)
	require.ErrorIs(t, r.Run(t.Context()), nats.ErrConnectionClosed)
}

func TestNewAgentReceiverRefuses(t *testing.T) {
	_, err := heartbeat.NewAgentReceiver(nil, heartbeat.AgentReceiverConfig{})
	require.ErrorContains(t, err, "Observe")
	_, err = heartbeat.NewAgentReceiver(nil, heartbeat.AgentReceiverConfig{Agent: "a.>", Observe: func(heartbeat.AgentEvent) {}})
	require.ErrorContains(t, err, "Agent")
}
