package main

import (
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/examples/internal/programtest"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// A release goes all its way on either machine: from source to processes, and to their end.
func (m *machine) release() (server int) {
	t, ctx := m.t, m.t.Context()
	tool, err := m.agent.CompilePackage(ctx, m.source(), nil)
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(m.store(), tool.BlobID))
	spec := m.spec(tool)
	require.NoError(t, m.agent.Prepare(ctx, spec))
	require.NoError(t, m.agent.Apply(ctx, spec))
	assert.Equal(t, "a template\n", m.file("jobs/web/config.txt"))
	assert.Equal(t, "demo", m.file("instance/deployment"))

	require.NoError(t, m.agent.RunScript(ctx, "pre-start", map[string]string{"GREETING": "hello"}))
	assert.Equal(t, "hello\n", m.file("sys/log/web/pre-start.stdout.log"))
	require.NoError(t, m.agent.StartJobs(ctx))
	state := m.becomes(messaging.JobRunning)
	assert.Equal(t, "demo", string(state.Deployment))
	require.Len(t, state.Processes, 1)
	assert.Equal(t, "web", state.Processes[0].Name)
	server = m.pid()
	require.False(t, gone(server))
	return server
}

// over drains and stops the release.
func (m *machine) over() {
	t, ctx := m.t, m.t.Context()
	spec := m.spec(client.Compiled{})
	spec.ConfigurationHash = "hash-2"
	seconds, err := m.agent.Drain(ctx, "update", spec)
	require.NoError(t, err)
	assert.Zero(t, seconds)
	seconds, err = m.agent.Drain(ctx, "shutdown", nil)
	require.NoError(t, err)
	assert.Zero(t, seconds)
	drained := strings.Split(strings.TrimSpace(m.file("drained")), "\n")
	require.Len(t, drained, 3)
	assert.Contains(t, drained[0], "hash_changed")
	assert.Equal(t, []string{"job_check_status hash_unchanged", "job_shutdown hash_unchanged"}, drained[1:])

	server := m.pid()
	require.NoError(t, m.agent.StopJobs(ctx))
	m.becomes(messaging.JobStopped)
	require.Eventually(t, func() bool { return gone(server) }, patience, 10*time.Millisecond)
	m.Signal(syscall.SIGTERM)
	assert.Equal(t, exitOK, m.End())
}

func TestReleaseUnderMonit(t *testing.T) {
	t.Parallel()
	needs.Tool(t, "monit", "monit")
	server := messagingtest.NewServer(t)
	told := make(chan *nats.Msg, 1000)
	_, err := server.Connect().ChanSubscribe("hm.agent.>", told)
	require.NoError(t, err)
	m := overNATS(t, server, nil, "--monit-port", strconv.Itoa(programtest.FreePort(t)), "--monit-cycle", "1s", "-h", "1")
	m.explain()
	pid := m.release()
	assert.Contains(t, m.file("monit/job/0000_web.monitrc"), "check process web")
	assert.FileExists(t, filepath.Join(m.dir, "root/etc/logrotate.d/vcap"))

	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	until(t, told, func(msg *nats.Msg) bool {
		a, err := messaging.HMAgentAlert("*").Decode(msg.Data)
		return msg.Subject == "hm.agent.alert.agent-1" && err == nil && a.Severity == 1 && a.Title == "web (10.0.0.21) - Does not exist - restart"
	})
	require.Eventually(t, func() bool { return m.pid() != pid && !gone(m.pid()) }, patience, 20*time.Millisecond)
	m.becomes(messaging.JobRunning)
	until(t, told, func(msg *nats.Msg) bool {
		h, err := messaging.HMAgentHeartbeat("*").Decode(msg.Data)
		return msg.Subject == "hm.agent.heartbeat.agent-1" && err == nil && h.NodeID == "id-1" && h.JobState == messaging.JobRunning &&
			h.Processes != nil && *h.Processes == 1
	})

	// An agent that dies leaves the job running, and its successor has monit in hand again.
	pid = m.pid()
	m.Kill()
	m.again()
	m.becomes(messaging.JobRunning)
	assert.Equal(t, pid, m.pid(), "it was not touched")
	require.NoError(t, m.agent.StartJobs(t.Context()), "which restarts monit")
	m.becomes(messaging.JobRunning)

	// Without monit, the agent says so, and goes on.
	monit, err := strconv.Atoi(strings.TrimSpace(m.file("monit/monit.pid")))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(monit, syscall.SIGSTOP))
	m.becomes(messaging.JobUnknown)
	require.NoError(t, syscall.Kill(monit, syscall.SIGCONT))
	m.becomes(messaging.JobRunning)

	m.over()
	until(t, told, func(msg *nats.Msg) bool {
		return msg.Subject == "hm.agent.shutdown.agent-1" && string(msg.Data) == "null"
	})
}

func TestReleaseInDirectory(t *testing.T) {
	t.Parallel()
	m := development(t)
	pid := m.release()
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	m.Says("web (127.0.0.1)") // the alert
	require.Eventually(t, func() bool { return m.pid() != pid && !gone(m.pid()) }, patience, 20*time.Millisecond)
	m.becomes(messaging.JobRunning)
	state, err := m.agent.FullState(t.Context())
	require.NoError(t, err)
	require.NotNil(t, state.Vitals)
	assert.Contains(t, string(state.All["networks"]), `"unknown":{"x":null}`)
	m.over()
}

// A server that goes away amid a task, and comes back: the task goes on, and is answered.
func TestServerGoesAwayMidTask(t *testing.T) {
	t.Parallel()
	server := messagingtest.NewServer(t)
	m := overNATS(t, server, nil, "-M", "dev")
	m.release()
	way, err := client.NewNATS(client.NATSConfig{Conn: server.Connect(), AgentID: "agent-1", Timeout: 3 * time.Second})
	require.NoError(t, err)
	t.Cleanup(way.Close)
	m.connect(way) // a question that is lost with the server is asked again soon
	task, err := m.agent.StartErrand(t.Context(), "web")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return m.file("begun") != "" }, patience, 10*time.Millisecond)
	server.Stop()
	m.write("goon", "")
	server.Start()
	done, err := task.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, client.Errand{ExitCode: 3, Stdout: "done\n", Stderr: "oops\n"}, done)
	m.over()
}
