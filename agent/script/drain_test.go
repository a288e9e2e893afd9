package script_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/script"
	"github.com/deakit/deakit/agent/spec"
)

// telling is a drain script that notes what it is told, and answers.
const telling = `echo "$*|$BOSH_JOB_STATE|${BOSH_JOB_NEXT_STATE-none}" >>"$(dirname "$0")/calls"; `

func (m *machine) calls(job string) string { return m.read("jobs/" + job + "/bin/calls") }

func packages(digests map[string]string) map[string]spec.Package {
	all := map[string]spec.Package{}
	for name, sha1 := range digests {
		all[name] = spec.Package{Name: name, SHA1: sha1}
	}
	return all
}

func TestDrain(t *testing.T) {
	m := newMachine(t, "a", "b", "none")
	var order []string
	m.Config.NotifyShutdown = func(context.Context) error { order = append(order, "notify"); return nil }
	m.Config.Unmonitor = func(context.Context) error { order = append(order, "unmonitor"); return nil }
	m.spec.PersistentDisk, m.spec.ConfigurationHash = 10, "old"
	m.spec.Packages = packages(map[string]string{"same": "1", "changed": "1", "gone": "1"})
	m.restart()
	for _, job := range []string{"a", "b"} {
		m.script(job, "drain", telling+"echo '  0  '; exit 7") // the status does not count
	}
	next := spec.Spec{PersistentDisk: 20, ConfigurationHash: "new", Packages: packages(map[string]string{"same": "1", "changed": "2", "added": "1"})}
	value, err := m.Drain(t.Context(), "update", &next)
	require.NoError(t, err)
	assert.Zero(t, value)
	data, err := json.Marshal(value)
	require.NoError(t, err)
	assert.Equal(t, "0", string(data))
	assert.Equal(t, []string{"unmonitor"}, order)

	_, err = m.Drain(t.Context(), "shutdown", nil)
	require.NoError(t, err)
	_, err = m.Drain(t.Context(), "shutdown", &spec.Spec{}) // as the public client sends it
	require.NoError(t, err)
	assert.Equal(t, []string{"unmonitor", "notify", "unmonitor", "notify", "unmonitor"}, order)
	want := `job_changed hash_changed added changed|{"persistent_disk":10}|{"persistent_disk":20}` + "\n" +
		`job_shutdown hash_unchanged|{"persistent_disk":10}|none` + "\n" +
		`job_shutdown hash_unchanged|{"persistent_disk":10}|{"persistent_disk":0}` + "\n"
	assert.Equal(t, want, m.calls("a"))
	assert.Equal(t, want, m.calls("b"))
}

func TestDrainOfTheFirstSpec(t *testing.T) {
	m := newMachine(t)
	next := spec.Spec{ConfigurationHash: "x", Job: spec.Job{Templates: []spec.Template{{Name: "a"}}}}
	_, err := m.Drain(t.Context(), "update", &next)
	require.NoError(t, err, "no job, no script")
	m = newMachine(t, "a") // jobs, but nothing was ever installed
	m.script("a", "drain", telling+"echo 0")
	_, err = m.Drain(t.Context(), "update", &next)
	require.NoError(t, err)
	assert.Contains(t, m.calls("a"), "job_changed hash_new|")
}

// TestDynamicDrain: −1 means to be asked again in a second.
func TestDynamicDrain(t *testing.T) {
	m := newMachine(t, "a")
	m.script("a", "drain", telling+`if [ "$1" = job_check_status ]; then echo 0; else echo -1; fi`)
	began := time.Now()
	value, err := m.Drain(t.Context(), "update", &spec.Spec{})
	require.NoError(t, err)
	assert.Zero(t, value)
	assert.GreaterOrEqual(t, time.Since(began), time.Second)
	assert.Equal(t, `job_changed hash_new|{"persistent_disk":0}|{"persistent_disk":0}`+"\n"+
		`job_check_status hash_unchanged|{"persistent_disk":0}|none`+"\n", m.calls("a"))
}

func TestDrainFails(t *testing.T) {
	m := newMachine(t, "a", "b", "c")
	m.script("a", "drain", "echo done")
	m.script("b", "drain", "true")
	m.script("c", "drain", "echo 0")
	_, err := m.Drain(t.Context(), "shutdown", nil)
	require.EqualError(t, err, "2 of 3 drain scripts failed. Failed Jobs: a, b. Successful Jobs: c.")
	assert.ErrorContains(t, errors.Join(err.(*script.FailedError).Causes...), "Script did not return a signed integer")
	m.script("a", "drain", `head -c 5000000 /dev/zero | tr '\0' 1`)
	_, err = m.Drain(t.Context(), "shutdown", nil)
	require.Error(t, err)

	var called bool
	m.Config.Unmonitor = func(context.Context) error { called = true; return nil }
	m.restart()
	_, err = m.Drain(t.Context(), "weird", nil)
	require.EqualError(t, err, "Unknown drain type weird")
	_, err = m.Drain(t.Context(), "status", nil)
	require.EqualError(t, err, "Unexpected call with drain type 'status'")
	_, err = m.Drain(t.Context(), "update", nil)
	require.EqualError(t, err, "Drain update requires new spec")
	assert.False(t, called, "what is refused has no effect")

	gone := errors.New("the bus is gone")
	m.Config.NotifyShutdown = func(context.Context) error { return gone }
	m.restart()
	_, err = m.Drain(t.Context(), "shutdown", nil)
	require.ErrorIs(t, err, gone)
	m.Config.Unmonitor = func(context.Context) error { return gone }
	m.restart()
	_, err = m.Drain(t.Context(), "update", &spec.Spec{})
	require.ErrorIs(t, err, gone)
}

// TestWaitingDrainEnds: a script that wants a thousand years can be cancelled while nothing of it runs.
func TestWaitingDrainEnds(t *testing.T) {
	for _, seconds := range []string{"31536000000", "-9223372036854775808"} {
		m := newMachine(t, "a")
		m.script("a", "drain", telling+"echo "+seconds)
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error)
		go func() {
			_, err := m.Drain(ctx, "shutdown", nil)
			done <- err
		}()
		require.Eventually(t, func() bool {
			_, err := os.Stat(filepath.Join(m.base, "jobs/a/bin/calls"))
			return err == nil
		}, 10*time.Second, time.Millisecond)
		why := errors.New("cancelled")
		cancel(why)
		require.ErrorIs(t, <-done, why)
	}
}

// TestDrainLeavesWhatItStarted: scripts drain in the background and tell how far that is when they are asked again.
func TestDrainLeavesWhatItStarted(t *testing.T) {
	m := newMachine(t, "a")
	done := filepath.Join(m.base, "done")
	m.script("a", "drain", `if [ "$1" = job_check_status ]; then [ -e `+done+` ] && echo 0 || echo -1; else (sleep 0.1; touch `+done+`) >/dev/null 2>&1 & echo -1; fi`)
	_, err := m.Drain(t.Context(), "shutdown", nil)
	require.NoError(t, err)
	assert.FileExists(t, done)
}

func TestLegacyDrain(t *testing.T) {
	m := newMachine(t)
	m.Config.Legacy = true
	m.spec.Job = spec.Job{Name: "web", Template: "a", SHA1: "1"}
	m.spec.ConfigurationHash = "same"
	m.spec.Packages = packages(map[string]string{"z": "1"})
	m.restart()
	value, err := m.Drain(t.Context(), "shutdown", nil)
	require.NoError(t, err)
	assert.Zero(t, value, "there is no script")

	m.script("a", "drain", `echo "$* $BOSH_CURRENT_STATE $BOSH_APPLY_SPEC" >>"$(dirname "$0")/calls"; echo -5`)
	next := m.spec
	next.Packages = packages(map[string]string{"z": "2", "b": "1"})
	for _, call := range []struct {
		kind string
		next *spec.Spec
	}{{"update", &next}, {"shutdown", nil}, {"status", nil}} {
		value, err = m.Drain(t.Context(), call.kind, call.next)
		require.NoError(t, err)
		assert.Equal(t, -5, value, "the director waits")
	}
	next.Job.SHA1 = "2"
	_, err = m.Drain(t.Context(), "update", &next)
	require.NoError(t, err)
	assert.Equal(t, "job_unchanged hash_unchanged z b null null\njob_shutdown hash_unchanged null null\n"+
		"job_check_status hash_unchanged null null\njob_changed hash_unchanged z b null null\n", m.calls("a"))

	for answer, want := range map[string]string{
		"echo +5": "Drain script exit 0: +5\n", "echo ' 5'": "Drain script exit 0:  5\n", "echo 5; exit 2": "Drain script exit 2: 5\n",
		"true": "Drain script exit 0: ", "echo 99999999999999999999": "value out of range",
	} {
		m.script("a", "drain", answer)
		_, err = m.Drain(t.Context(), "shutdown", nil)
		require.ErrorContains(t, err, want, answer)
	}
	_, err = m.Drain(t.Context(), "update", nil)
	require.EqualError(t, err, "Drain update called without apply spec")
	_, err = m.Drain(t.Context(), "weird", nil)
	require.EqualError(t, err, "Unknown drain type weird")

	await := m.hanging("a", "drain")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		_, err := m.Drain(ctx, "shutdown", nil)
		done <- err
	}()
	pids := await()
	why := errors.New("cancelled")
	cancel(why)
	require.ErrorIs(t, <-done, why)
	gone(t, pids)
}
