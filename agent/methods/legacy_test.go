package methods_test

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/internal/blobtest"
	"github.com/deakit/deakit/agent/methods"
)

// TestLegacy has the results that a director of 2014 expects.
func TestLegacy(t *testing.T) {
	n := run(t, plan{Config: methods.Config{Legacy: true}})
	ctx := t.Context()
	spec := n.spec("", "web", "1", n.compiled())
	spec["job"].(map[string]any)["logs"] = map[string]any{"access": "web/access*"}
	applied := decoded(t, n.value("apply", spec))
	assert.Equal(t, []any{"cf", map[string]any{"name": "jammy"}}, []any{applied["deployment"], applied["stemcell"]})
	state := decoded(t, n.value("state", "full"))
	assert.Equal(t, map[string]any{"name": "vm-17", "id": "vm-4711"}, state["vm"])
	assert.NotNil(t, n.machine.Heartbeat(ctx).NTP)

	// The director waits itself.
	waited, err := n.Drain(ctx, "update", spec)
	require.NoError(t, err)
	assert.Equal(t, -1, waited)
	waited, err = n.Drain(ctx, "status", nil)
	require.NoError(t, err)
	assert.Zero(t, waited)
	assert.Equal(t, "job_unchanged hash_unchanged\njob_check_status hash_unchanged\n", n.read("drained"))
	n.fails("Drain update called without apply spec", "drain", "update")
	errand, err := n.RunErrand(ctx, "")
	require.NoError(t, err)
	assert.Equal(t, 3, errand.ExitCode)

	require.NoError(t, n.RemoveFile(ctx, n.path("data/sys/log/compilation")))
	for _, name := range []string{"web/access.txt", "web/error.log", "web/other"} {
		n.write("sys/log/"+name, name, 0o644)
	}
	for _, want := range []struct{ filters, names []string }{
		{[]string{"access"}, []string{"web/access.txt"}},
		{nil, []string{"web/error.log"}},
		{[]string{"all"}, []string{"web/access.txt", "web/error.log", "web/other"}},
		{[]string{"web/o*"}, []string{"web/other"}},
	} {
		logs, err := n.FetchLogs(ctx, "job", want.filters)
		require.NoError(t, err)
		var archive bytes.Buffer
		require.NoError(t, n.director.Get(ctx, logs.BlobID, &archive))
		_, files := blobtest.Read(t, archive.Bytes())
		for _, name := range want.names {
			assert.Contains(t, files, "./"+name)
			delete(files, "./"+name)
		}
		for name := range files {
			assert.Regexp(t, "/$", name, "%v", want.filters)
		}
	}

	assert.Equal(t, `"shutdown"`, n.value("shutdown"))
	<-n.stopped
	assert.ErrorIs(t, n.ended, methods.ErrShutdown)
}

// An errand without a name is the first job where the spec names no template, and with agents of old where it does.
func TestErrandOfTheFirstJob(t *testing.T) {
	for _, legacy := range []bool{true, false} {
		n := run(t, plan{Config: methods.Config{Legacy: legacy}})
		n.write("jobs/a/bin/run", "#!/bin/sh\nexit 0\n", 0o755)
		require.NoError(t, n.Apply(t.Context(), map[string]any{"job": map[string]any{"templates": []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}}}}))
		errand, err := n.RunErrand(t.Context(), "")
		require.NoError(t, err)
		assert.Equal(t, client.Errand{}, errand)
	}
}

// Whoever replaces jobs that run is warned, once they were started and not stopped.
func TestApplyWhileJobsRun(t *testing.T) {
	var log bytes.Buffer
	n := run(t, plan{Config: methods.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}})
	next := map[string]any{"configuration_hash": "1", "job": map[string]any{"name": "a", "templates": []any{}}, "packages": map[string]any{}}
	monitFile := "check process a with pidfile " + n.path("a.pid") + "\n  start program \"/bin/true\"\n"
	require.NoError(t, n.Apply(t.Context(), next))
	n.write("monit/job/0000_a.monitrc", monitFile, 0o600)
	n.write("monit/stopped", "", 0o600)
	require.NoError(t, n.Apply(t.Context(), next))
	require.NoError(t, os.Remove(n.path("monit/stopped")))
	n.write("monit/job/0000_a.monitrc", monitFile, 0o600)
	require.NoError(t, n.Apply(t.Context(), next))
	n.stop()
	assert.Equal(t, 1, strings.Count(log.String(), "agent.apply.jobs_run"))
}
