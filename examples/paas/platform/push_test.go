package platform_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/examples/paas/client"
	"github.com/deakit/deakit/examples/paas/controller"
	"github.com/deakit/deakit/messaging"
)

func TestSecondPushKeepsWhatItLeavesOut(t *testing.T) {
	s := serve(t)
	dir := source(t, serves)
	route := "other." + s.Info().Domain
	require.NoError(t, s.push(dir, controller.Settings{
		Name: "app", MemoryMB: 64, Env: []string{"A=1"}, Routes: []string{"app." + s.Info().Domain, route}, Command: "exec perl server.pl",
	}))
	require.NoError(t, s.Scale(t.Context(), "app", 3))
	s.eventually("three run", func() bool {
		app, err := s.App(t.Context(), "app")
		return err == nil && app.Running == 3
	})
	before, err := s.App(t.Context(), "app")
	require.NoError(t, err)
	stop := s.load("app")
	require.NoError(t, s.push(dir, controller.Settings{Name: "app", Env: []string{"B=2"}}))
	after, err := s.App(t.Context(), "app")
	require.NoError(t, err)
	assert.NotEqual(t, before.Version, after.Version)
	assert.Equal(t, 3, after.Running)
	want := before.Settings
	want.Env = []string{"A=1", "B=2"}
	assert.Equal(t, want, after.Settings)
	s.eventually("the old version is gone", func() bool {
		app, err := s.App(t.Context(), "app")
		return err == nil && len(app.Instances) == 3
	})
	requests, failed := stop()
	assert.Empty(t, failed)
	assert.NotZero(t, requests)
	_, err = s.FetchText(t.Context(), "http://"+route+"/")
	assert.NoError(t, err)
	for e, err := range s.Events(t.Context(), 0, false) {
		require.NoError(t, err)
		assert.NotContains(t, e.Text, "index too high")
	}
}

func fromApp(line messaging.AppLogLine) bool { return line.Source == applog.App }

// logs collects what an app wrote.
func (s *served) logs(app string) (lines []messaging.AppLogLine) {
	s.t.Helper()
	for line, err := range s.Logs(s.t.Context(), app, false) {
		require.NoError(s.t, err)
		lines = append(lines, line)
	}
	return lines
}

func TestLogsHoldWhatCrashedInstancesWrote(t *testing.T) {
	s := serve(t)
	var failure *client.PushError
	require.ErrorAs(t, s.push(source(t, "web: sh -c 'echo one; echo two >&2; exit 7'\n"), controller.Settings{Name: "crash"}), &failure)
	assert.Equal(t, "crash", failure.App)
	require.NotEmpty(t, failure.Instance)
	s.eventually("the crash is logged", func() bool {
		return slices.ContainsFunc(s.logs("crash"), func(m messaging.AppLogLine) bool { return strings.Contains(m.Text, "crashed") })
	})
	var texts []string
	lines := s.logs("crash")
	for _, line := range lines {
		assert.Equal(t, failure.Instance, line.Instance)
		if fromApp(line) {
			texts = append(texts, string(line.Stream)+" "+line.Text)
		}
	}
	assert.ElementsMatch(t, []string{"stdout one", "stderr two"}, texts)
	assert.Contains(t, lines[len(lines)-1].Text, "crashed: app instance exited (status 7)", "after the last words")
	assert.True(t, slices.IsSortedFunc(lines, func(a, b messaging.AppLogLine) int { return a.Time.Compare(b.Time) }))
	app, err := s.App(t.Context(), "crash")
	require.NoError(t, err)
	require.Len(t, app.Instances, 1, "the one that crashed")
	assert.Equal(t, failure.Instance, app.Instances[0].Instance)
	assert.Empty(t, app.Silent)

	require.NoError(t, s.push(source(t, serves), controller.Settings{Name: "crash"}))
	app, err = s.App(t.Context(), "crash")
	require.NoError(t, err)
	require.Len(t, app.Instances, 1, "the one that runs")
	assert.NotEqual(t, failure.Instance, app.Instances[0].Instance)
	assert.Equal(t, "one", s.logs("crash")[slices.IndexFunc(s.logs("crash"), func(m messaging.AppLogLine) bool {
		return m.Instance == failure.Instance && m.Source == applog.App && m.Stream == applog.Stdout
	})].Text, "what crashed is still there")
}

func TestLogsFollowInstancesThatComeLater(t *testing.T) {
	s := serve(t)
	dir := source(t, "web: sh -c 'echo begun $VCAP_APPLICATION; exec perl server.pl'\n")
	require.NoError(t, s.push(dir, controller.Settings{Name: "app"}))
	begun := make(chan messaging.AppLogLine, 100)
	ended := make(chan error, 1)
	go func() {
		for line, err := range s.Logs(context.WithoutCancel(t.Context()), "app", true) {
			if err != nil {
				ended <- err
				return
			}
			if fromApp(line) && strings.HasPrefix(line.Text, "begun") {
				begun <- line
			}
		}
		ended <- nil
	}()
	first := <-begun
	assert.Equal(t, 0, *first.Index)
	require.NoError(t, s.Scale(t.Context(), "app", 2))
	assert.Equal(t, 1, *(<-begun).Index)
	require.NoError(t, s.push(dir, controller.Settings{Name: "app"}))
	third, fourth := <-begun, <-begun
	assert.ElementsMatch(t, []int{0, 1}, []int{*third.Index, *fourth.Index})
	assert.NotEqual(t, first.Instance, third.Instance)
	require.NoError(t, s.Delete(t.Context(), "app"))
	assert.NoError(t, <-ended, "it ends with the app")
	for _, err := range s.Logs(t.Context(), "app", false) {
		var refused *client.APIError
		assert.ErrorAs(t, err, &refused)
	}
}

func TestFiguresDoNotLie(t *testing.T) {
	s := serve(t)
	dir := source(t, "web: trap 'sleep 1; exit' TERM; perl server.pl & wait\n")
	require.NoError(t, s.push(dir, controller.Settings{Name: "app", Instances: 2}))
	require.NoError(t, s.push(dir, controller.Settings{Name: "app", Instances: 1}))
	apps, err := s.Apps(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, apps[0].Running, "whatever of the old version is still there")
	require.NoError(t, s.Stop(t.Context(), "app"))
	apps, err = s.Apps(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "STOPPING", apps[0].State)
	assert.Zero(t, apps[0].Running)
	s.eventually("it has stopped", func() bool {
		apps, err := s.Apps(t.Context())
		return err == nil && apps[0].State == "STOPPED"
	})
}
