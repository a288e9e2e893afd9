package monit_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/alert"
	"github.com/deakit/deakit/agent/monit"
	"github.com/deakit/deakit/agent/supervisor"
	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// A machine has a real monit of its own, with its own files and ports.
type machine struct {
	*monit.Supervisor
	t      *testing.T
	base   string
	client *monit.Client
	daemon *monit.Daemon
	alerts chan *nats.Msg
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// background runs until the test ends.
func background(t *testing.T, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	program := needs.Tool(t, "monit", "monit")
	m := &machine{t: t, base: t.TempDir(), alerts: make(chan *nats.Msg, 1000)}
	user, password, err := monit.EnsureUser(m.base)
	require.NoError(t, err)

	mails, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := messagingtest.NewServer(t)
	_, err = server.Connect().ChanSubscribe("hm.agent.alert.*", m.alerts)
	require.NoError(t, err)
	agent, err := heartbeat.NewAgent(server.Connect(), heartbeat.AgentConfig{
		ID: "agent-1", Collect: func(context.Context) messaging.AgentHeartbeat { return messaging.AgentHeartbeat{} },
	})
	require.NoError(t, err)
	reporter := alert.Reporter{Addresses: func() []string { return []string{"10.0.0.21"} }, Send: agent.Alert}
	smtp, err := alert.NewSMTP(alert.SMTPConfig{User: "vcap", Password: monitPassword, Take: reporter.Mail})
	require.NoError(t, err)
	background(t, func(ctx context.Context) error { return smtp.Serve(ctx, mails) })
	require.NoError(t, monit.WriteAlertConfig(monit.AlertConfig{
		Base: m.base, Port: mails.Addr().(*net.TCPAddr).Port, User: "vcap", Password: monitPassword,
	}))

	port := freePort(t)
	config, err := monit.WriteConfig(monit.Config{Base: m.base, Port: port, Cycle: time.Second})
	require.NoError(t, err)
	m.daemon, err = monit.NewDaemon(monit.DaemonConfig{Program: program, Config: config})
	require.NoError(t, err)
	background(t, m.daemon.Run)
	m.client = client(t, monit.ClientConfig{URL: fmt.Sprintf("http://127.0.0.1:%d", port), User: user, Password: password, Pause: 100 * time.Millisecond, ShortTries: 300})
	m.Supervisor, err = monit.NewSupervisor(monit.SupervisorConfig{
		Base: m.base, Client: m.client, Restart: m.daemon.Restart, Check: 200 * time.Millisecond, Checks: 100, Poll: 100 * time.Millisecond,
	})
	require.NoError(t, err)
	_, err = m.client.Status(t.Context())
	require.NoError(t, err)
	return m
}

const monitPassword = "0123456789abcdef"

// job installs a job whose process writes its id to a file.
func (m *machine) job(index int, name, start string) {
	m.t.Helper()
	pid := filepath.Join(m.base, name+".pid")
	require.NoError(m.t, m.AddJob(supervisor.JobFile{Index: index, Label: name, Content: fmt.Appendf(nil,
		"check process %s with pidfile %s\n  start program \"%s\" with timeout 5 seconds\n  stop program \"/bin/sh -c 'kill $(cat %s); rm %s'\"\n  group vcap\n",
		name, pid, start, pid, pid)}))
	m.t.Cleanup(func() {
		if pid := m.pid(name); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL) // a test that failed left it
		}
	})
}

func (m *machine) daemonProgram(name string) string {
	return fmt.Sprintf("/bin/sh -c 'sleep 1000 >/dev/null 2>&1 & echo $! > %s'", filepath.Join(m.base, name+".pid"))
}

func (m *machine) pid(name string) int {
	data, err := os.ReadFile(filepath.Join(m.base, name+".pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return pid
}

func (m *machine) becomes(want messaging.JobState) {
	m.t.Helper()
	require.Eventually(m.t, func() bool { return m.Status(m.t.Context()).State == want }, time.Minute, 50*time.Millisecond, "%s", want)
}

// alert waits for one with this title.
func (m *machine) alert(title string) messaging.AgentAlert {
	m.t.Helper()
	var others []string
	for {
		select {
		case msg := <-m.alerts:
			told, err := messaging.HMAgentAlert("*").Decode(msg.Data)
			require.NoError(m.t, err)
			if told.Title == title {
				return told
			}
			others = append(others, told.Title)
		case <-time.After(time.Minute):
			m.t.Fatalf("no alert %q, but %q", title, others)
		}
	}
}

func TestRealMonit(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	assert.Equal(t, messaging.JobRunning, m.Status(t.Context()).State, "there are no services")
	m.job(0, "a", m.daemonProgram("a"))
	m.job(1, "b", m.daemonProgram("b"))
	before, err := m.client.Status(t.Context())
	require.NoError(t, err)
	require.NoError(t, m.Reload(t.Context()))
	after, err := m.client.Status(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, before.Incarnation, after.Incarnation)
	assert.Len(t, after.Group("vcap"), 2)
	require.NoError(t, m.Start(t.Context()))
	m.becomes(messaging.JobRunning)
	require.Eventually(t, func() bool {
		p := m.Status(t.Context()).Processes
		return p[0].Memory.KB > 0 && p[1].Memory.KB > 0
	}, time.Minute, 50*time.Millisecond)

	// One that dies is told by mail, which becomes an alert on NATS, and comes back.
	pid := m.pid("a")
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	told := m.alert("a (10.0.0.21) - Does not exist - restart")
	assert.Equal(t, 1, told.Severity)
	assert.Equal(t, "process is not running", told.Summary)
	assert.NotEmpty(t, told.ID)
	assert.WithinDuration(t, time.Now(), time.Unix(told.CreatedAt, 0), 5*time.Minute)
	require.Eventually(t, func() bool { return m.pid("a") != pid && m.pid("a") != 0 }, time.Minute, 10*time.Millisecond)
	m.becomes(messaging.JobRunning)
	assert.NotEqual(t, pid, m.pid("a"))

	pids := []int{m.pid("a"), m.pid("b")}
	require.NoError(t, m.StopAndWait(t.Context()))
	assert.Equal(t, messaging.JobStopped, m.Status(t.Context()).State)
	for _, pid := range pids {
		require.Eventually(t, func() bool { return gone(pid) }, time.Minute, 10*time.Millisecond)
	}
	require.NoError(t, m.Start(t.Context()))
	m.becomes(messaging.JobRunning)
	require.NoError(t, m.Unmonitor(t.Context()))
	m.becomes(messaging.JobFailing)
	pids = []int{m.pid("a"), m.pid("b")}
	require.NoError(t, syscall.Kill(pids[0], syscall.SIGKILL)) // as a drain script may do
	require.NoError(t, m.StopAndWait(t.Context()))
	require.Eventually(t, func() bool { return gone(pids[1]) }, time.Minute, 10*time.Millisecond, "though monit did not watch it")
	assert.Equal(t, pids[0], m.pid("a"), "it was not started again")
	require.NoError(t, m.RemoveJobs())
	require.NoError(t, m.Reload(t.Context()))
	assert.Empty(t, m.Status(t.Context()).Processes)
}

// gone tells whether a process has ended, also when nobody has asked how.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestRealMonitFailingJob(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.job(0, "broken", "/bin/false")
	require.NoError(t, m.Reload(t.Context()))
	require.NoError(t, m.Start(t.Context()))
	m.becomes(messaging.JobFailing)
	failed := m.alert("broken (10.0.0.21) - Execution failed - alert")
	assert.Equal(t, alert.Alert, failed.Severity)
	assert.Contains(t, failed.Summary, "failed to start")

	_, err := client(t, monit.ClientConfig{URL: "http://127.0.0.1:1", ShortTries: 1}).Status(t.Context())
	require.ErrorContains(t, err, "refused")
	var answer *monit.StatusError
	require.ErrorAs(t, m.client.Do(t.Context(), monit.Stop, "nobody"), &answer)
	assert.Equal(t, 404, answer.Code)
}

// A monit that was killed is started again.
func TestDaemon(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	before, err := m.client.Status(t.Context())
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(m.base, "monit/monit.pid"))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.Eventually(t, func() bool {
		after, err := m.client.Status(t.Context())
		return err == nil && after.Incarnation != before.Incarnation
	}, time.Minute, 50*time.Millisecond)

	_, err = monit.NewDaemon(monit.DaemonConfig{})
	require.ErrorContains(t, err, "Config")
	d, err := monit.NewDaemon(monit.DaemonConfig{Program: "/none/at/all", Config: "x"})
	require.NoError(t, err)
	require.ErrorContains(t, d.Restart(t.Context()), "does not run")
	require.ErrorContains(t, d.Run(t.Context()), "no such file")
	require.ErrorContains(t, d.Restart(t.Context()), "any more")
}

// A monit that was left behind by an agent that died makes room for another one.
func TestDaemonEndsOrphans(t *testing.T) {
	t.Parallel()
	program := needs.Tool(t, "monit", "monit")
	base := t.TempDir()
	_, _, err := monit.EnsureUser(base)
	require.NoError(t, err)
	config, err := monit.WriteConfig(monit.Config{Base: base, Port: freePort(t), Cycle: time.Second})
	require.NoError(t, err)
	orphan := exec.Command(program, "-I", "-c", config)
	orphan.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, orphan.Start())
	t.Cleanup(func() { _ = orphan.Process.Kill() }) // a test that failed left it
	pidFile := filepath.Join(base, "monit/monit.pid")
	running := func() string {
		data, _ := os.ReadFile(pidFile)
		return strings.TrimSpace(string(data))
	}
	require.Eventually(t, func() bool { return running() == strconv.Itoa(orphan.Process.Pid) }, time.Minute, 10*time.Millisecond)
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }()

	d, err := monit.NewDaemon(monit.DaemonConfig{Program: program, Config: config})
	require.NoError(t, err)
	background(t, d.Run)
	require.NoError(t, <-ended, "it ends by itself when it is told to")
	require.Eventually(t, func() bool { pid := running(); return pid != "" && pid != strconv.Itoa(orphan.Process.Pid) }, time.Minute, 10*time.Millisecond)
}

// A file that monit does not understand is told in its own words, and the monit that runs goes on.
func TestReloadOfASyntaxError(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	before, err := m.client.Status(t.Context())
	require.NoError(t, err)
	require.NoError(t, m.AddJob(supervisor.JobFile{Label: "bad", Content: []byte("chekc process bad with pidfile /p\n")}))
	require.ErrorContains(t, m.Reload(t.Context()), "syntax error 'chekc'")
	after, err := m.client.Status(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before.Incarnation, after.Incarnation)
	require.NoError(t, m.RemoveJobs())
	require.NoError(t, m.Reload(t.Context()))
}
