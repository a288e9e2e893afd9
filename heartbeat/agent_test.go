package heartbeat_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// healthMonitor hears what all agents tell it.
func healthMonitor(t *testing.T, server *messagingtest.Server) (beats, alerts, shutdowns chan *nats.Msg) {
	t.Helper()
	conn := server.Connect()
	var channels []chan *nats.Msg
	for _, subject := range []string{"hm.agent.heartbeat.*", "hm.agent.alert.*", "hm.agent.shutdown.*"} {
		c := make(chan *nats.Msg, 10_000)
		_, err := conn.ChanSubscribe(subject, c)
		require.NoError(t, err)
		channels = append(channels, c)
	}
	require.NoError(t, conn.Flush())
	return channels[0], channels[1], channels[2]
}

func next(t *testing.T, c <-chan *nats.Msg) *nats.Msg {
	t.Helper()
	select {
	case msg := <-c:
		return msg
	case <-time.After(30 * time.Second):
		t.Fatal("no message")
		return nil
	}
}

// late is a connection of an agent that comes back after the health monitor's.
func late(t *testing.T, server *messagingtest.Server) *nats.Conn {
	t.Helper()
	conn, err := messaging.Connect(messaging.Config{Servers: []string{server.URL()}, ReconnectWait: time.Second})
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}

// sender is an agent whose heartbeats carry their number as index.
func sender(t *testing.T, conn *nats.Conn, cfg heartbeat.AgentConfig) *heartbeat.Agent {
	t.Helper()
	cfg.ID = "agent-1"
	count := -1
	cfg.Collect = func(ctx context.Context) messaging.AgentHeartbeat {
		_, limited := ctx.Deadline()
		assert.True(t, limited)
		count++
		return messaging.AgentHeartbeat{
			Job: new("router"), Index: new(count), JobState: messaging.JobRunning, Processes: new(3),
			Vitals: messaging.AgentVitals{Load: []messaging.Text{"0.10", "0.20", "0.30"}, Uptime: &messaging.AgentUptime{Seconds: 7}},
		}
	}
	a, err := heartbeat.NewAgent(conn, cfg)
	require.NoError(t, err)
	return a
}

func runAgent(t *testing.T, a *heartbeat.Agent) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
}

func TestAgentHeartbeats(t *testing.T) {
	server := messagingtest.NewServer(t)
	beats, _, _ := healthMonitor(t, server)
	runAgent(t, sender(t, server.Connect(), heartbeat.AgentConfig{Interval: 10 * time.Millisecond}))
	for i := range 3 {
		msg := next(t, beats)
		assert.Equal(t, "hm.agent.heartbeat.agent-1", msg.Subject)
		assert.Empty(t, msg.Reply)
		beat, err := messaging.HMAgentHeartbeat("*").Decode(msg.Data)
		require.NoError(t, err)
		assert.Equal(t, i, *beat.Index)
		if i == 0 {
			assert.JSONEq(t, `{"deployment":"","job":"router","index":0,"job_state":"running","node_id":"","number_of_processes":3,
				"vitals":{"disk":{},"load":["0.10","0.20","0.30"],"uptime":{"secs":7}}}`, string(msg.Data))
		}
	}
}

// The first heartbeat does not wait for the interval, even when there is a server only later; nor does the first one after the server
// was away. Its absence ends nothing.
func TestAgentOutlivesServer(t *testing.T) {
	server := messagingtest.NewServer(t)
	server.Stop()
	conn := server.Connect()
	runAgent(t, sender(t, conn, heartbeat.AgentConfig{Interval: 10 * time.Millisecond, Retry: 5 * time.Millisecond}))
	server.Start()
	beats, _, _ := healthMonitor(t, server)
	first, err := messaging.HMAgentHeartbeat("*").Decode(next(t, beats).Data)
	require.NoError(t, err)
	assert.Positive(t, *first.Index, "earlier ones told what is past, and are not sent")
	server.Stop()
	require.Eventually(t, func() bool { return !conn.IsConnected() }, 30*time.Second, time.Millisecond)
	for len(beats) > 0 {
		<-beats
	}
	server.Start()
	next(t, beats)
}

func TestAgentFirstHeartbeatWithLongInterval(t *testing.T) {
	server := messagingtest.NewServer(t)
	beats, _, _ := healthMonitor(t, server)
	server.Stop()
	runAgent(t, sender(t, late(t, server), heartbeat.AgentConfig{Interval: time.Hour, Retry: time.Hour}))
	server.Start()
	next(t, beats)
}

func TestAgentAlerts(t *testing.T) {
	server := messagingtest.NewServer(t)
	_, alerts, _ := healthMonitor(t, server)
	alert := messaging.AgentAlert{ID: "1", Severity: 1, Title: "nats - does not exist - restart", CreatedAt: 1304319946}
	once := sender(t, server.Connect(), heartbeat.AgentConfig{Interval: time.Hour})
	require.NoError(t, once.Alert(alert), "Run need not run")
	msg := next(t, alerts)
	assert.Equal(t, "hm.agent.alert.agent-1", msg.Subject)
	have, err := messaging.HMAgentAlert("*").Decode(msg.Data)
	require.NoError(t, err)
	assert.Equal(t, alert, have)
	for _, bad := range []messaging.AgentAlert{{}, {ID: "1", Severity: -1, Title: "x", CreatedAt: 1}, {ID: "1", Severity: 1, CreatedAt: 1}} {
		var refused *messaging.MessageError
		require.ErrorAs(t, once.Alert(bad), &refused)
	}

	thrice := sender(t, server.Connect(), heartbeat.AgentConfig{Interval: time.Hour, AlertTimes: 3})
	runAgent(t, thrice)
	require.NoError(t, thrice.Alert(alert))
	var at []time.Time
	for range 3 {
		assert.Equal(t, msg.Data, next(t, alerts).Data)
		at = append(at, time.Now())
	}
	assert.Greater(t, at[2].Sub(at[0]), time.Second, "they are a second apart")
	assert.Empty(t, alerts)
}

// No alert is lost while there is no server.
func TestAgentAlertsWaitForServer(t *testing.T) {
	server := messagingtest.NewServer(t)
	_, alerts, _ := healthMonitor(t, server)
	conn := late(t, server)
	a := sender(t, conn, heartbeat.AgentConfig{Interval: time.Hour})
	runAgent(t, a)
	server.Stop()
	require.Eventually(t, func() bool { return !conn.IsConnected() }, 30*time.Second, time.Millisecond)
	for _, id := range []string{"1", "2"} {
		require.NoError(t, a.Alert(messaging.AgentAlert{ID: id, Severity: 1, Title: "x", CreatedAt: 1}))
	}
	server.Start()
	for _, id := range []string{"1", "2"} {
		have, err := messaging.HMAgentAlert("*").Decode(next(t, alerts).Data)
		require.NoError(t, err)
		assert.Equal(t, id, have.ID)
	}
}

func TestAgentShutdown(t *testing.T) {
	server := messagingtest.NewServer(t)
	_, _, shutdowns := healthMonitor(t, server)
	a := sender(t, server.Connect(), heartbeat.AgentConfig{})
	require.NoError(t, a.Shutdown(t.Context()))
	msg := next(t, shutdowns)
	assert.Equal(t, "hm.agent.shutdown.agent-1", msg.Subject)
	assert.Equal(t, "null", string(msg.Data))
	server.Stop()
	require.Error(t, a.Shutdown(t.Context()))
}

func TestNewAgentRefuses(t *testing.T) {
	collect := func(context.Context) messaging.AgentHeartbeat { return messaging.AgentHeartbeat{} }
	_, err := heartbeat.NewAgent(nil, heartbeat.AgentConfig{ID: "a.b", Collect: collect})
	require.ErrorContains(t, err, "ID")
	_, err = heartbeat.NewAgent(nil, heartbeat.AgentConfig{ID: "a"})
	require.ErrorContains(t, err, "Collect")
}
