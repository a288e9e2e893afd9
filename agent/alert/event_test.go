package alert_test

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/alert"
	"github.com/deakit/deakit/messaging"
)

// The table of both agents, row by row.
func TestSeverity(t *testing.T) {
	rows := map[int][]string{
		1: {"connection failed", "execution failed", "does not exist", "monit instance failed"},
		2: {"checksum failed", "icmp failed", "pid failed", "ppid failed", "timeout", "uid failed"},
		3: {"connection changed", "content failed", "content doesn't match", "data access error", "filesystem flags failed", "gid failed",
			"heartbeat failed", "invalid type", "permission failed", "resource limit matched", "size failed", "size changed", "timestamp failed"},
		4: {"checksum changed", "data access changed", "execution changed", "filesystem flags changed", "gid changed", "heartbeat changed",
			"icmp changed", "type changed", "existence changed", "permission changed", "pid changed", "ppid changed", "resource limit changed",
			"timeout changed", "timestamp changed", "uid changed"},
		-1: {"action done", "exists", "content match", "timeout recovery", "monit instance changed",
			"checksum succeeded", "connection succeeded", "content succeeded", "data access succeeded", "execution succeeded",
			"filesystem flags succeeded", "gid succeeded", "heartbeat succeeded", "icmp succeeded", "monit instance succeeded",
			"type succeeded", "permission succeeded", "pid succeeded", "ppid succeeded", "resource limit succeeded", "size succeeded",
			"timestamp succeeded", "uid succeeded",
			"checksum not changed", "connection not changed", "data access not changed", "execution not changed",
			"filesystem flags not changed", "gid not changed", "heartbeat not changed", "icmp not changed", "monit instance not changed",
			"type not changed", "existence not changed", "permission not changed", "pid not changed", "ppid not changed",
			"resource limit not changed", "size not changed", "timeout not changed", "timestamp not changed", "uid not changed"},
	}
	count := 0
	for want, events := range rows {
		for _, event := range events {
			count++
			severity, known := alert.Severity(event)
			assert.True(t, known, event)
			assert.Equal(t, want, severity, event)
		}
	}
	assert.Equal(t, 81, count)
	severity, known := alert.Severity(" Does Not Exist ")
	assert.True(t, known)
	assert.Equal(t, 1, severity)
	severity, known = alert.Severity("Moon eclipsed")
	assert.False(t, known)
	assert.Equal(t, 2, severity)
}

func TestFromEvent(t *testing.T) {
	event := alert.Event{
		ID: "1304319946.0@localhost", Service: "nats", Event: "does not exist", Action: "restart", Time: time.Unix(1304319946, 5),
		Description: "process is not running",
	}
	got, ok := alert.FromEvent(event, []string{"10.0.0.21"}, nil)
	require.True(t, ok)
	want := messaging.AgentAlert{
		ID: "1304319946.0@localhost", Severity: 1, Title: "nats (10.0.0.21) - does not exist - restart",
		Summary: "process is not running", CreatedAt: 1304319946,
	}
	assert.Equal(t, want, got)

	addresses := []string{"10.1.0.3", "", "10.0.0.21", "10.1.0.3"}
	got, _ = alert.FromEvent(event, addresses, nil)
	assert.Equal(t, "nats (10.0.0.21, 10.1.0.3) - does not exist - restart", got.Title)
	assert.Equal(t, []string{"10.1.0.3", "", "10.0.0.21", "10.1.0.3"}, addresses, "the caller's list is left alone")
	got, _ = alert.FromEvent(event, []string{""}, nil)
	assert.Equal(t, "nats - does not exist - restart", got.Title)

	event.Event = "Exists"
	_, ok = alert.FromEvent(event, nil, nil)
	assert.False(t, ok, "what went well is nothing to tell")

	var log bytes.Buffer
	event.Event, event.Time = "Moon eclipsed", time.Time{}
	got, ok = alert.FromEvent(event, nil, slog.New(slog.NewTextHandler(&log, nil)))
	assert.True(t, ok)
	assert.Equal(t, 2, got.Severity)
	assert.WithinDuration(t, time.Now(), time.Unix(got.CreatedAt, 0), time.Minute)
	assert.Contains(t, log.String(), "alert.event.unknown")
	_, err := messaging.HMAgentAlert("a").Encode(got)
	require.NoError(t, err)
}
