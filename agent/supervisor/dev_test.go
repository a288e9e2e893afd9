package supervisor_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/alert"
	"github.com/deakit/deakit/agent/supervisor"
	"github.com/deakit/deakit/messaging"
)

// A machine has a development supervisor.
type machine struct {
	*supervisor.Dev
	t      *testing.T
	base   string
	events chan alert.Event
	end    func() // ends Run and waits
}

func newMachine(t *testing.T, base string) *machine {
	t.Helper()
	return newMachineThat(t, base, 5*time.Minute)
}

// newMachineThat waits so long for processes to stop.
func newMachineThat(t *testing.T, base string, stopTimeout time.Duration) *machine {
	t.Helper()
	m := &machine{t: t, base: base, events: make(chan alert.Event, 1000)}
	var err error
	m.Dev, err = supervisor.NewDev(supervisor.DevConfig{
		StopTimeout: stopTimeout, Base: base, Poll: 10 * time.Millisecond, Backoff: 10 * time.Millisecond, BackoffMax: 50 * time.Millisecond,
		Report: func(e alert.Event) { m.events <- e },
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	m.end = func() {
		cancel()
		assert.NoError(t, <-ended)
		ended <- nil
	}
	t.Cleanup(m.end)
	require.Eventually(t, func() bool { return m.Status(ctx).Err == nil }, 20*time.Second, time.Millisecond)
	return m
}

// job installs a job of one process.
func (m *machine) job(name, start, stop string) {
	m.t.Helper()
	text := fmt.Sprintf("check process %s with pidfile %s\n  start program \"%s\"\n", name, m.pidFile(name), start)
	if stop != "" {
		text += fmt.Sprintf("  stop program \"%s\"\n", stop)
	}
	require.NoError(m.t, m.AddJob(supervisor.JobFile{Label: name, Content: []byte(text + "  group vcap\n")}))
}

func (m *machine) pidFile(name string) string { return filepath.Join(m.base, name+".pid") }

// daemon is a start program that goes to the background, as those of jobs do.
func (m *machine) daemon(name string) string {
	return fmt.Sprintf("/bin/sh -c 'sleep 1000 >/dev/null 2>&1 & echo $! > %s'", m.pidFile(name))
}

func (m *machine) becomes(want messaging.JobState) {
	m.t.Helper()
	require.Eventually(m.t, func() bool { return m.Status(m.t.Context()).State == want }, 30*time.Second, 5*time.Millisecond, "%s", want)
}

// event waits for one of a kind.
func (m *machine) event(kind string) alert.Event {
	m.t.Helper()
	for {
		select {
		case e := <-m.events:
			if e.Event == kind {
				return e
			}
		case <-time.After(30 * time.Second):
			m.t.Fatalf("no event %q", kind)
		}
	}
}

func (m *machine) pid(name string) int {
	m.t.Helper()
	data, err := os.ReadFile(m.pidFile(name))
	require.NoError(m.t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	require.NoError(m.t, err)
	return pid
}

// runs tells whether a process runs; one that has ended and is not yet asked how does not.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestDev(t *testing.T) {
	m := newMachine(t, t.TempDir())
	assert.Equal(t, messaging.JobRunning, m.Status(t.Context()).State, "there are no processes")
	m.job("a", m.daemon("a"), fmt.Sprintf("/bin/sh -c 'echo gone > %s/a.stopped; kill $(cat %s)'", m.base, m.pidFile("a")))
	m.job("b", fmt.Sprintf("/bin/sh -c 'echo $$ > %s; exec sleep 1000'", m.pidFile("b")), "") // stays in the foreground
	require.NoError(t, m.Reload(t.Context()))
	assert.Equal(t, messaging.JobFailing, m.Status(t.Context()).State, "nobody has started them")
	require.NoError(t, m.Start(t.Context()))
	m.becomes(messaging.JobRunning)
	status := m.Status(t.Context())
	require.Len(t, status.Processes, 2)
	assert.Equal(t, "a", status.Processes[0].Name)
	assert.Equal(t, messaging.JobRunning, status.Processes[1].State)
	assert.Positive(t, status.Processes[1].Memory.KB)
	pidA, pidB := m.pid("a"), m.pid("b")

	// One that dies is told and started again.
	require.NoError(t, syscall.Kill(pidA, syscall.SIGKILL))
	died := m.event("Does not exist")
	assert.Equal(t, "a", died.Service)
	told, ok := alert.FromEvent(died, nil, nil)
	assert.True(t, ok)
	assert.Equal(t, 1, told.Severity)
	require.Eventually(t, func() bool { return m.event("Exists").Service == "a" }, 30*time.Second, time.Millisecond)
	m.becomes(messaging.JobRunning)
	assert.NotEqual(t, pidA, m.pid("a"))
	assert.Equal(t, pidB, m.pid("b"), "the other one goes on")

	require.NoError(t, m.StopAndWait(t.Context()))
	assert.Equal(t, messaging.JobStopped, m.Status(t.Context()).State)
	assert.False(t, runs(m.pid("a")))
	assert.False(t, runs(pidB))
	assert.FileExists(t, filepath.Join(m.base, "a.stopped"), "the stop program was run")

	require.NoError(t, m.Start(t.Context()))
	m.becomes(messaging.JobRunning)
	pidA, pidB = m.pid("a"), m.pid("b")
	require.NoError(t, m.RemoveJobs())
	require.NoError(t, m.Reload(t.Context()))
	assert.Empty(t, m.Status(t.Context()).Processes)
	require.Eventually(t, func() bool { return !runs(pidA) && !runs(pidB) }, 30*time.Second, 5*time.Millisecond)
}

func TestDevEndsWhatItStarted(t *testing.T) {
	base := t.TempDir()
	m := newMachine(t, base)
	m.job("a", m.daemon("a"), "")
	m.job("b", fmt.Sprintf("/bin/sh -c 'trap true TERM; echo $$ > %s; while true; do sleep 0.05; done'", m.pidFile("b")), "/bin/false")
	// c never says which process it is; what it leaves behind ends, too.
	m.job("c", fmt.Sprintf("/bin/sh -c 'sleep 1000 & echo $! > %s/left'", base), "")
	require.NoError(t, m.Reload(t.Context()))
	require.NoError(t, m.Start(t.Context()))
	require.Eventually(t, func() bool {
		p := m.Status(t.Context()).Processes
		left, err := os.ReadFile(filepath.Join(base, "left"))
		return p[0].State == messaging.JobRunning && p[1].State == messaging.JobRunning && err == nil && len(left) > 0
	}, 30*time.Second, 5*time.Millisecond)
	pids := []int{m.pid("a"), m.pid("b")}
	// A supervisor that comes after finds nothing to do, and starts what was not stopped on purpose.
	syscall.Kill(pids[1], syscall.SIGKILL) // it would take the whole time that stopping may take
	m.end()
	data, err := os.ReadFile(filepath.Join(base, "left"))
	require.NoError(t, err)
	left, err := strconv.Atoi(strings.TrimSpace(string(data)))
	require.NoError(t, err)
	for _, pid := range append(pids, left) {
		require.Eventually(t, func() bool { return !runs(pid) }, 20*time.Second, time.Millisecond) // killed ones take a moment
	}
	require.NoError(t, supervisor.Files(base).RemoveAll())
	m = newMachine(t, base)
	m.job("a", m.daemon("a"), "")
	m.end()
	m = newMachine(t, base)
	m.becomes(messaging.JobRunning)
	require.NoError(t, m.Stop(t.Context()))
	m.end()
	m = newMachine(t, base)
	assert.Equal(t, messaging.JobStopped, m.Status(t.Context()).State, "it was stopped on purpose")
	assert.Equal(t, messaging.JobUnknown, m.Status(t.Context()).Processes[0].State)
}

// A job whose monit file makes no sense has no processes, and nobody is to think that all is well.
func TestDevMonitFileThatMakesNoSense(t *testing.T) {
	base := t.TempDir()
	var log bytes.Buffer
	dev, err := supervisor.NewDev(supervisor.DevConfig{Base: base, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	bad := supervisor.JobFile{Label: "bad", Content: []byte("check process\n")}
	require.NoError(t, dev.AddJob(bad))
	assert.Contains(t, log.String(), "level=WARN msg=supervisor.monit.unreadable job=bad")

	m := newMachine(t, base)
	assert.Equal(t, messaging.JobFailing, m.Status(t.Context()).State, "as it was found")
	require.NoError(t, m.RemoveJobs())
	require.NoError(t, m.Reload(t.Context()))
	assert.Equal(t, messaging.JobRunning, m.Status(t.Context()).State)
	require.NoError(t, m.AddJob(bad))
	require.Error(t, m.Reload(t.Context()))
	assert.Equal(t, messaging.JobFailing, m.Status(t.Context()).State)
	require.NoError(t, m.Stop(t.Context()))
	assert.Equal(t, messaging.JobStopped, m.Status(t.Context()).State)
}

// A job that is replaced while it runs takes its stop program with it.
func TestDevStopProgramIsGone(t *testing.T) {
	m := newMachine(t, t.TempDir())
	m.job("a", m.daemon("a"), filepath.Join(m.base, "gone")+" stop")
	require.NoError(t, m.Reload(t.Context()))
	require.NoError(t, m.Start(t.Context()))
	m.becomes(messaging.JobRunning)
	pid := m.pid("a")
	require.NoError(t, m.RemoveJobs())
	require.NoError(t, m.Reload(t.Context()))
	assert.Contains(t, m.event("Execution failed").Description, "failed to stop")
	require.Eventually(t, func() bool { return !runs(pid) }, 20*time.Second, 5*time.Millisecond) // not after the 30 s of a stop program
}

func TestDevUnmonitor(t *testing.T) {
	m := newMachine(t, t.TempDir())
	m.job("a", m.daemon("a"), "")
	require.NoError(t, m.Reload(t.Context()))
	require.NoError(t, m.Start(t.Context()))
	m.becomes(messaging.JobRunning)
	require.NoError(t, m.Unmonitor(t.Context()))
	m.becomes(messaging.JobFailing)
	assert.True(t, runs(m.pid("a")), "it goes on")
	for len(m.events) > 0 {
		<-m.events
	}
	require.NoError(t, syscall.Kill(m.pid("a"), syscall.SIGKILL))
	require.NoError(t, m.StopAndWait(t.Context()))
	assert.Empty(t, m.events, "nobody watched")
}

func TestDevStopTakesTooLong(t *testing.T) {
	m := newMachineThat(t, t.TempDir(), 50*time.Millisecond)
	m.job("a", fmt.Sprintf("/bin/sh -c 'trap true TERM; echo $$ > %s; while true; do sleep 0.05; done'", m.pidFile("a")), "/bin/true")
	require.NoError(t, m.Reload(t.Context()))
	require.NoError(t, m.Start(t.Context()))
	m.becomes(messaging.JobRunning)
	require.EqualError(t, m.StopAndWait(t.Context()), "Timed out waiting for services 'a' to stop after 50ms")
	assert.Equal(t, messaging.JobStopped, m.Status(t.Context()).State, "that is still wanted")
	require.NoError(t, syscall.Kill(m.pid("a"), syscall.SIGKILL))
	require.Eventually(t, func() bool { return m.StopAndWait(t.Context()) == nil }, 30*time.Second, time.Millisecond)
}

// A job cannot have processes signalled that are not its own affair.
func TestDevPIDFileThatLies(t *testing.T) {
	m := newMachine(t, t.TempDir())
	for _, pid := range []string{"1", "0", "-1", strconv.Itoa(os.Getpid()), "x", ""} {
		require.NoError(t, os.WriteFile(m.pidFile("a"), []byte(pid), 0o600))
		m.job("a", fmt.Sprintf("/bin/sh -c 'printf %%s %s > %s; exit 1'", pid, m.pidFile("a")), "")
		require.NoError(t, m.Reload(t.Context()))
		require.NoError(t, m.Start(t.Context()))
		m.event("Execution failed")
		require.NoError(t, m.StopAndWait(t.Context()))
	}
}

func TestDevStartFails(t *testing.T) {
	m := newMachine(t, t.TempDir())
	m.job("a", "/bin/false", "")
	m.job("b", "/none/at-all", "")
	require.NoError(t, m.Reload(t.Context()))
	require.NoError(t, m.Start(t.Context()))
	services := map[string]string{}
	require.Eventually(t, func() bool {
		e := m.event("Execution failed")
		services[e.Service] = e.Description
		return len(services) == 2
	}, 30*time.Second, time.Millisecond)
	assert.Contains(t, services["a"], "exit status 1")
	assert.Contains(t, services["b"], "no such file")
	require.NoError(t, m.StopAndWait(t.Context()))
}

func TestDevRefuses(t *testing.T) {
	_, err := supervisor.NewDev(supervisor.DevConfig{})
	require.ErrorContains(t, err, "Base")
	base := t.TempDir()
	d, err := supervisor.NewDev(supervisor.DevConfig{Base: base})
	require.NoError(t, err)
	for _, do := range []func(context.Context) error{d.Reload, d.Start, d.Stop, d.StopAndWait, d.Unmonitor} {
		require.ErrorIs(t, do(t.Context()), supervisor.ErrNotRunning)
	}
	assert.Equal(t, messaging.JobUnknown, d.Status(t.Context()).State)
	m := newMachine(t, base)
	require.NoError(t, m.AddJob(supervisor.JobFile{Label: "x", Content: []byte("check process a")}))
	require.ErrorContains(t, m.Reload(t.Context()), "0000_x.monitrc")
	require.NoError(t, m.RemoveJobs())
	m.job("a", "/bin/true", "")
	require.NoError(t, m.AddJob(supervisor.JobFile{Label: "twice", Content: []byte("check process a pidfile /x start /x")}))
	require.ErrorContains(t, m.Reload(t.Context()), "in another file, too")
	assert.Empty(t, m.Status(t.Context()).Processes, "what was before counts")
}
