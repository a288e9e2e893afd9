package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/agent/client"
)

// killed is one agent that is killed at random points of a method, again and again, and then answers for the task.
func killed(t *testing.T, m *machine, seed uint64, most time.Duration, method string, arguments func() []any, whole func()) {
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range 4 {
		task, err := m.agent.Start(t.Context(), method, arguments()...)
		require.NoError(t, err)
		after := time.NewTimer(time.Duration(random.Int64N(int64(most))))
		<-after.C
		m.Kill()
		m.again()
		// The agent knows no task of another life, and says so: nobody waits for ever.
		_, _, err = task.Get(t.Context())
		require.ErrorIs(t, err, client.ErrUnknownTask, "round %d", round)
		whole()
	}
}

func TestKilledApply(t *testing.T) {
	t.Parallel()
	m := development(t)
	tool, err := m.agent.CompilePackage(t.Context(), m.source(), nil)
	require.NoError(t, err)
	spec := m.spec(tool)
	version := 0
	killed(t, m, 1, 60*time.Millisecond, "apply", func() []any {
		version++
		p := spec.Packages["tool"]
		p.Version = strings.Repeat("1.", version) + "0" // so that it is installed anew
		spec.Packages["tool"] = p
		return []any{spec}
	}, func() {
		// What has its name is whole.
		installed, err := filepath.Glob(filepath.Join(m.base, "data/packages/tool/*"))
		require.NoError(t, err)
		for _, dir := range installed {
			assert.FileExists(t, filepath.Join(dir, "bin/server"))
		}
		require.NoError(t, m.agent.Apply(t.Context(), spec))
		assert.FileExists(t, filepath.Join(m.base, "jobs/web/packages/tool/bin/server"))
		left, err := filepath.Glob(filepath.Join(m.base, "data/packages/tool/*"))
		require.NoError(t, err)
		assert.Len(t, left, 1)
	})
}

func TestKilledCompile(t *testing.T) {
	t.Parallel()
	m := development(t)
	source := m.source()
	tool, err := m.agent.CompilePackage(t.Context(), source, nil)
	require.NoError(t, err)
	require.NoError(t, m.agent.Apply(t.Context(), m.spec(tool)))
	killed(t, m, 2, 200*time.Millisecond, "compile_package", func() []any {
		return []any{source.BlobID, source.SHA1, source.Name, source.Version, object{}}
	}, func() {
		_, err := m.agent.CompilePackage(t.Context(), source, nil)
		require.NoError(t, err)
		assert.FileExists(t, filepath.Join(m.base, "jobs/web/packages/tool/bin/server"), "the job has its package back")
		assert.NoDirExists(t, filepath.Join(m.base, "data/compile/tool"))
	})
}

func TestKilledMigration(t *testing.T) {
	t.Parallel()
	m := withDisks(t)
	ctx := t.Context()
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, os.WriteFile(filepath.Join(m.base, "store", name), make([]byte, 4*mib), 0o600))
	}
	m.write("store/data", "all there is")
	other := map[string]string{"vol-1": "vol-2", "vol-2": "vol-1"}
	// mount has either disk where a migration needs it, whatever a killed one left.
	mount := func() (at string) {
		mounted, err := m.agent.ListDisk(ctx)
		require.NoError(t, err)
		for _, cid := range mounted {
			require.NoError(t, m.agent.UnmountDisk(ctx, cid))
		}
		at = strings.TrimSpace(m.file("bosh/managed_disk_settings.json"))
		require.NoError(t, m.agent.MountDisk(ctx, at))
		assert.Equal(t, "all there is", m.file("store/data"))
		require.NoError(t, m.agent.MountDisk(ctx, other[at]))
		return at
	}
	killed(t, m, 3, 150*time.Millisecond, "migrate_disk", func() []any {
		at := mount()
		return []any{at, other[at]}
	}, func() {
		assert.Equal(t, "all there is", m.file("store/data"), "all is at the store, on one disk or the other")
	})
	at := mount()
	require.NoError(t, m.agent.MigrateDisk(ctx, at, other[at]))
	assert.Equal(t, "all there is", m.file("store/data"))
}

// Whoever hears "ok" of an agent that is back relies on it: one that was killed before it had kept new settings keeps them now.
func TestKilledBeforeSettingsAreKept(t *testing.T) {
	t.Parallel()
	m := development(t)
	kept := filepath.Join(m.base, "bosh/update_settings.json")
	require.NoError(t, unix.Mkfifo(kept, 0o600)) // the agent reads it first, and comes no further
	update := client.UpdateSettings{Blobstores: json.RawMessage(`[{"provider":"local","options":{"blobstore_path":"` + m.store() + `"}}]`)}
	task, err := m.agent.Start(t.Context(), "update_settings", update)
	require.NoError(t, err)
	var held *os.File
	require.Eventually(t, func() bool {
		held, err = os.OpenFile(kept, os.O_WRONLY|unix.O_NONBLOCK, 0) // fails while nobody reads
		return err == nil
	}, patience, time.Millisecond)
	defer held.Close()
	m.Kill()
	require.NoError(t, os.Remove(kept))

	m.start()
	m.Says("agent.again") // with the other store
	value, err := m.agent.Resume(task.Method, task.ID).Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, `"ok"`, string(value))
	assert.Contains(t, m.file("bosh/update_settings.json"), m.store())
}

// Scripts of an agent that was killed are ended by its successor, also what has left their process group and what does not heed
// TERM; what a script left behind that had ended lives on.
func TestKilledAgentLeavesNoScripts(t *testing.T) {
	t.Parallel()
	m := development(t)
	tool, err := m.agent.CompilePackage(t.Context(), m.source(), nil)
	require.NoError(t, err)
	require.NoError(t, m.agent.Apply(t.Context(), m.spec(tool)))
	pids := filepath.Join(m.base, "pids")
	noted := func() (all []int) {
		for field := range strings.FieldsSeq(m.file("pids")) {
			pid, err := strconv.Atoi(field)
			require.NoError(t, err)
			all = append(all, pid)
		}
		return all
	}
	t.Cleanup(func() {
		for _, pid := range noted() {
			_ = unix.Kill(pid, unix.SIGKILL) // a test that failed left it
		}
	})
	script := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(m.base, "jobs/web/bin", name), []byte("#!/bin/bash\n"+text), 0o755))
	}
	const endless = "setsid sleep 1001 & one=$!\nsleep 1002 &\n"
	script("run", "trap '' TERM\n"+endless+"echo $$ $one $! >"+pids+"; while :; do wait; done\n")
	for _, name := range []string{"drain", "pre-start"} {
		script(name, endless+"echo $$ $one $! >"+pids+"; wait\n")
	}
	script("post-start", "setsid sleep 1003 >/dev/null 2>&1 & echo $! >"+pids+"\n")
	endlessly := client.BlobRef{Name: "endless", Version: "1", BlobID: "endless", SHA1: m.blob("endless", files{
		"packaging": endless + "echo $$ $one $! >" + pids + "; wait\n",
	})}
	for _, c := range []struct {
		method    string
		arguments []any
	}{
		{"run_errand", []any{"web"}}, {"drain", []any{"shutdown"}}, {"run_script", []any{"pre-start", object{}}},
		{"compile_package", []any{endlessly.BlobID, endlessly.SHA1, endlessly.Name, endlessly.Version, object{}}},
	} {
		require.NoError(t, os.RemoveAll(pids))
		_, err := m.agent.Start(t.Context(), c.method, c.arguments...)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return len(noted()) == 3 }, patience, time.Millisecond, c.method)
		m.Kill()
		for _, pid := range noted() {
			assert.False(t, gone(pid), "%s: it knows nothing of it", c.method)
		}
		m.again()
		for _, pid := range noted() {
			assert.True(t, gone(pid), "%s: process %d goes on", c.method, pid)
		}
		left, err := os.ReadDir(filepath.Join(m.base, "bosh/running"))
		require.NoError(t, err)
		assert.Empty(t, left)
	}
	require.NoError(t, os.RemoveAll(pids))
	require.NoError(t, m.agent.RunScript(t.Context(), "post-start", nil))
	m.Kill()
	m.again()
	require.Len(t, noted(), 1)
	assert.False(t, gone(noted()[0]), "the script had ended")
}
