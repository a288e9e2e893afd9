package monit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/monit"
	"github.com/deakit/deakit/messaging"
)

// A scripted monit has two services, a and b, in the group vcap, and one in another.
type scripted struct {
	incarnation int
	services    map[string]*service
	orders      []string
	down        bool
	onOrder     func(name, action string)
	later       []change
}

// A change happens when the monit is asked at that time or later.
type change struct {
	at time.Time
	do func()
}

func (m *scripted) after(d time.Duration, do func()) {
	m.later = append(m.later, change{time.Now().Add(d), do})
}

type service struct {
	monitor, status, pending int
	message                  string
}

func newScripted() *scripted {
	return &scripted{incarnation: 100, services: map[string]*service{"a": {monitor: 1}, "b": {monitor: 1}, "system": {monitor: 1}}}
}

func (m *scripted) handle(r *http.Request) (int, string, error) {
	if m.down {
		return 0, "", errors.New("connection refused")
	}
	m.later = slices.DeleteFunc(m.later, func(c change) bool {
		due := !time.Now().Before(c.at)
		if due {
			c.do()
		}
		return due
	})
	if r.Method == http.MethodPost {
		name := strings.TrimPrefix(r.URL.Path, "/")
		if err := r.ParseForm(); err != nil {
			return 0, "", err
		}
		action := r.PostForm.Get("action")
		m.orders = append(m.orders, action+" "+name)
		if m.onOrder != nil {
			m.onOrder(name, action)
		}
		return 200, "", nil
	}
	var text strings.Builder
	fmt.Fprintf(&text, `<monit incarnation="%d"><services>`, m.incarnation)
	for _, name := range []string{"b", "a", "system"} {
		if s := m.services[name]; s != nil {
			fmt.Fprintf(&text, `<service name="%s"><monitor>%d</monitor><status>%d</status><pendingaction>%d</pendingaction><status_message>%s</status_message></service>`,
				name, s.monitor, s.status, s.pending, s.message)
		}
	}
	text.WriteString(`</services><servicegroups><servicegroup name="vcap"><service>a</service><service>b</service></servicegroup></servicegroups></monit>`)
	return 200, text.String(), nil
}

func supervised(t *testing.T, m *scripted, base string) *monit.Supervisor {
	t.Helper()
	s, err := monit.NewSupervisor(monit.SupervisorConfig{
		Base: base, Client: client(t, monit.ClientConfig{Transport: handled(m.handle)}),
		Restart: func(context.Context) error { m.incarnation--; m.down = false; return nil }, // a clock that was set back
	})
	require.NoError(t, err)
	return s
}

func health(t *testing.T, base string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(base, "instance/health.json"))
	require.NoError(t, err)
	return string(data)
}

// The job states, in their precedence: unknown, stopped, starting, failing, running.
func TestSupervisorStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, base := newScripted(), t.TempDir()
		s := supervised(t, m, base)
		state := func() messaging.JobState { return s.Status(t.Context()).State }
		assert.Equal(t, messaging.JobRunning, state())
		status := s.Status(t.Context())
		assert.Equal(t, []string{"a", "b"}, []string{status.Processes[0].Name, status.Processes[1].Name})
		m.services["a"].status = 512
		assert.Equal(t, messaging.JobFailing, state())
		m.services["a"].monitor = 0
		assert.Equal(t, messaging.JobFailing, state())
		m.services["b"].monitor = 2
		assert.Equal(t, messaging.JobStarting, state())
		require.NoError(t, s.Stop(t.Context()))
		assert.Equal(t, messaging.JobStopped, state())
		assert.Equal(t, `{"state":"stopped"}`, health(t, base))
		m.down = true
		unknown := s.Status(t.Context())
		assert.Equal(t, messaging.JobUnknown, unknown.State)
		assert.Empty(t, unknown.Processes)
		require.ErrorContains(t, unknown.Err, "Getting processes status")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Status(ctx).Err, context.DeadlineExceeded)
		m.down = false
		require.NoError(t, s.Start(t.Context()))
		assert.Equal(t, messaging.JobStarting, state())
		require.NoError(t, s.Unmonitor(t.Context()))
		assert.Equal(t, `{"state":"starting"}`, health(t, base))
		assert.Equal(t, []string{"stop b", "stop a", "start b", "start a", "unmonitor b", "unmonitor a"}, m.orders)
		clear(m.services)
		assert.Equal(t, messaging.JobRunning, state(), "there are no services")
	})
}

func TestSupervisorStopAndWait(t *testing.T) {
	bubble := func(name string, do func(t *testing.T, m *scripted, s *monit.Supervisor, base string)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, base := newScripted(), t.TempDir()
				do(t, m, supervised(t, m, base), base)
			})
		})
	}
	bubble("waits for all", func(t *testing.T, m *scripted, s *monit.Supervisor, base string) {
		m.services["a"].pending = 1
		begin := time.Now()
		m.after(10*time.Second, func() { m.services["a"].pending = 0 })
		m.onOrder = func(name, action string) {
			assert.Equal(t, "stop", action)
			assert.Equal(t, 10*time.Second, time.Since(begin))
			m.services[name].pending = 2
			m.after(20*time.Second, func() { *m.services[name] = service{} })
		}
		require.NoError(t, s.StopAndWait(t.Context()))
		assert.Equal(t, 30*time.Second, time.Since(begin))
		assert.Equal(t, messaging.JobStopped, s.Status(t.Context()).State)
		assert.Equal(t, `{"state":"stopped"}`, health(t, base))
		assert.Equal(t, []string{"stop b", "stop a"}, m.orders)
	})
	bubble("pending for ever", func(t *testing.T, m *scripted, s *monit.Supervisor, base string) {
		m.services["a"].pending, m.services["b"].pending = 1, 1
		require.EqualError(t, s.StopAndWait(t.Context()), "Timed out waiting for services 'b, a' to no longer be pending after 5 minutes")
		assert.NoFileExists(t, filepath.Join(base, "monit/stopped"))
	})
	bubble("one does not stop", func(t *testing.T, m *scripted, s *monit.Supervisor, base string) {
		m.onOrder = func(name, _ string) {
			if name == "a" {
				m.services["a"].monitor = 0
			}
		}
		require.EqualError(t, s.StopAndWait(t.Context()), "Timed out waiting for services 'b' to stop after 5 minutes")
		assert.FileExists(t, filepath.Join(base, "monit/stopped"))
	})
	bubble("one fails", func(t *testing.T, m *scripted, s *monit.Supervisor, base string) {
		m.onOrder = func(name, _ string) { *m.services[name] = service{monitor: 1, status: 1, message: "stop failed"} }
		require.EqualError(t, s.StopAndWait(t.Context()), "Stopping services '[b a]' errored")
	})
	bubble("nobody waits any more", func(t *testing.T, m *scripted, s *monit.Supervisor, base string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := s.StopAndWait(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotContains(t, err.Error(), "Timed out waiting for services")
	})
}

func TestSupervisorReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newScripted()
		s := supervised(t, m, t.TempDir())
		require.NoError(t, s.Reload(t.Context()))
		assert.Equal(t, 99, m.incarnation, "another one, though it seems older")
		m.down = true
		require.NoError(t, s.Reload(t.Context()), "whoever answers is another one")
	})
	synctest.Test(t, func(t *testing.T) {
		m := newScripted()
		restarts := 0
		cfg := monit.SupervisorConfig{
			Base: t.TempDir(), Client: client(t, monit.ClientConfig{Transport: handled(m.handle)}),
			Restart: func(context.Context) error { restarts++; return nil },
		}
		s, err := monit.NewSupervisor(cfg)
		require.NoError(t, err)
		begin := time.Now()
		require.EqualError(t, s.Reload(t.Context()), "Failed to reload monit: before=100 after=100")
		assert.Equal(t, 3, restarts)
		assert.Equal(t, 30*time.Second, time.Since(begin))
		cfg.Restart = func(context.Context) error { return errors.New("no such service") }
		s, err = monit.NewSupervisor(cfg)
		require.NoError(t, err)
		require.ErrorContains(t, s.Reload(t.Context()), "no such service")
		_, err = monit.NewSupervisor(monit.SupervisorConfig{})
		require.ErrorContains(t, err, "Restart")
	})
}
