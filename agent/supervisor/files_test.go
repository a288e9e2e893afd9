package supervisor_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/supervisor"
	"github.com/deakit/deakit/messaging"
)

func TestFiles(t *testing.T) {
	base := t.TempDir()
	files := supervisor.Files(base)
	all, err := files.All()
	require.NoError(t, err)
	assert.Empty(t, all)
	require.NoError(t, files.Add(supervisor.JobFile{Index: 0, Label: "nats", Content: []byte("a")}))
	require.NoError(t, files.Add(supervisor.JobFile{Index: 12, Label: "nats_extra", Content: []byte("b")}))
	require.NoError(t, files.Add(supervisor.JobFile{Index: 0, Label: "nats", Content: []byte("c")}))
	all, err = files.All()
	require.NoError(t, err)
	assert.Equal(t, map[string][]byte{"0000_nats.monitrc": []byte("c"), "0012_nats_extra.monitrc": []byte("b")}, all)
	info, err := os.Stat(filepath.Join(base, "monit/job/0000_nats.monitrc"))
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, info.Mode())
	require.NoError(t, files.Add(supervisor.JobFile{Label: "a.b_c+d~e@f-g_extra"}), "names of jobs have all of these")
	for _, bad := range []supervisor.JobFile{
		{Label: ""}, {Label: "../x"}, {Label: "a/b"}, {Label: "a\n"}, {Label: "a", Index: -1}, {Label: "a", Index: 10_000},
		{Label: "a", Content: make([]byte, 2<<20)}, {Label: strings.Repeat("a", 300)},
	} {
		require.Error(t, files.Add(bad))
	}
	require.NoError(t, files.RemoveAll())
	require.NoError(t, files.RemoveAll())
	all, err = files.All()
	require.NoError(t, err)
	assert.Empty(t, all)

	for _, stopped := range []bool{false, true, true, false, false} {
		require.NoError(t, files.SetStopped(stopped))
		have, err := files.Stopped()
		require.NoError(t, err)
		assert.Equal(t, stopped, have)
	}

	require.NoError(t, files.WriteHealth(messaging.JobRunning))
	health, err := os.ReadFile(filepath.Join(base, "instance/health.json"))
	require.NoError(t, err)
	assert.Equal(t, `{"state":"running"}`, string(health))
	require.NoError(t, os.WriteFile(filepath.Join(base, "file"), nil, 0o600))
	_, err = supervisor.Files(filepath.Join(base, "file")).Stopped()
	require.ErrorIs(t, err, syscall.ENOTDIR)
}

func TestOverall(t *testing.T) {
	of := func(states ...messaging.JobState) (processes []messaging.AgentProcess) {
		for _, s := range states {
			processes = append(processes, messaging.AgentProcess{State: s})
		}
		return processes
	}
	const running, starting, failing, unwatched = messaging.JobRunning, messaging.JobStarting, messaging.JobFailing, messaging.JobUnknown
	for _, test := range []struct {
		want      messaging.JobState
		processes []messaging.AgentProcess
	}{
		{running, nil}, {running, of(running, running)}, {failing, of(running, failing)}, {failing, of(unwatched)},
		{starting, of(failing, starting)}, {starting, of(starting, running)},
	} {
		assert.Equal(t, test.want, supervisor.Overall(false, test.processes))
		assert.Equal(t, messaging.JobStopped, supervisor.Overall(true, test.processes))
	}
	assert.Nil(t, supervisor.Status{State: messaging.JobUnknown}.Count())
	assert.Equal(t, 2, *supervisor.Status{State: running, Processes: of(running, running)}.Count())
}
