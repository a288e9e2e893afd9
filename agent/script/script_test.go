package script_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/agent/script"
	"github.com/deakit/deakit/agent/spec"
	"github.com/deakit/deakit/internal/needs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A machine is a base directory with a runner.
type machine struct {
	t    *testing.T
	base string
	spec spec.Spec
	script.Config
	*script.Runner
}

func newMachine(t *testing.T, jobs ...string) *machine {
	needs.Tool(t, "bash", "bash")
	m := &machine{t: t, base: t.TempDir()}
	for _, j := range jobs {
		m.spec.Job.Templates = append(m.spec.Job.Templates, spec.Template{Name: j, Version: "1"})
	}
	m.Config = script.Config{Base: m.base, Specs: spec.NewStore(m.base), Grace: 50 * time.Millisecond}
	m.restart()
	return m
}

// restart takes over the configuration and the spec.
func (m *machine) restart() {
	runner, err := script.New(m.Config)
	require.NoError(m.t, err)
	m.Runner = runner
	require.NoError(m.t, m.Config.Specs.Save(m.spec))
}

// script gives a job a script.
func (m *machine) script(job, name, text string) {
	dir := filepath.Join(m.base, "jobs", job, "bin")
	require.NoError(m.t, os.MkdirAll(dir, 0o755))
	require.NoError(m.t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/bash\n"+text+"\n"), 0o755))
}

func (m *machine) read(name string) string {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.base, name))
	require.NoError(m.t, err)
	return string(data)
}

func TestRunScript(t *testing.T) {
	t.Setenv("AGENT_SECRET", "hidden")
	m := newMachine(t, "a", "b", "c")
	m.script("a", "pre-start", `echo "a $PATH $TMPDIR $MORE ${AGENT_SECRET-none}"; echo oops >&2`)
	m.script("b", "pre-start", "echo b")
	for range 2 {
		result, err := m.RunScript(t.Context(), "pre-start", script.Options{Env: map[string]string{"MORE": "1 2"}})
		require.NoError(t, err)
		data, err := json.Marshal(result)
		require.NoError(t, err)
		assert.Equal(t, `{}`, string(data))
	}
	line := "a /usr/sbin:/usr/bin:/sbin:/bin " + m.base + "/data/tmp 1 2 none\n"
	assert.Equal(t, line+line, m.read("sys/log/a/pre-start.stdout.log"), "it is appended")
	assert.Equal(t, "oops\noops\n", m.read("sys/log/a/pre-start.stderr.log"))
	info, err := os.Stat(filepath.Join(m.base, "sys/log/b/pre-start.stdout.log"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode())
	assert.NoDirExists(t, filepath.Join(m.base, "sys/log/c"))

	_, err = m.RunScript(t.Context(), "post-start", script.Options{})
	require.NoError(t, err, "a script that no job has")
}

func TestRunScriptFails(t *testing.T) {
	m := newMachine(t, "a", "b")
	m.script("a", "pre-start", "exit 1")
	m.script("b", "pre-start", "true")
	_, err := m.RunScript(t.Context(), "pre-start", script.Options{})
	require.EqualError(t, err, "1 of 2 pre-start scripts failed. Failed Jobs: a. Successful Jobs: b.")
	m.script("b", "pre-start", "exit 2")
	require.NoError(t, os.Chmod(filepath.Join(m.base, "jobs/a/bin/pre-start"), 0o644))
	_, err = m.RunScript(t.Context(), "pre-start", script.Options{})
	require.EqualError(t, err, "2 of 2 pre-start scripts failed. Failed Jobs: a, b.")
	require.ErrorIs(t, err, os.ErrPermission)
	assert.ErrorContains(t, errors.Join(err.(*script.FailedError).Causes...), "exited with 2")
}

func TestNamesAreChecked(t *testing.T) {
	m := newMachine(t, "a")
	m.script("a", "run", "touch "+m.base+"/ran")
	m.script("..", "x", "touch "+m.base+"/ran")
	for _, name := range []string{"../bin/run", "../../../bin/x", "", ".", "..", "a/b", "a\x00"} {
		_, err := m.RunScript(t.Context(), name, script.Options{})
		require.ErrorIs(t, err, spec.ErrInvalid, name)
	}
	for _, env := range []map[string]string{{"": "x"}, {"A=B": "x"}, {"A": "\x00"}, {"A\x00": ""}} {
		_, err := m.RunScript(t.Context(), "run", script.Options{Env: env})
		require.ErrorIs(t, err, spec.ErrInvalid)
	}
	_, err := m.RunErrand(t.Context(), new("../a"))
	require.EqualError(t, err, "Could not find errand ../a")
	m.spec.Job.Templates[0].Name = ".."
	m.spec.Job.Template = ".."
	m.restart()
	_, err = m.RunScript(t.Context(), "x", script.Options{})
	require.ErrorIs(t, err, spec.ErrInvalid, "a spec that somebody has changed")
	_, err = m.RunErrand(t.Context(), nil)
	require.ErrorIs(t, err, spec.ErrInvalid)
	_, err = m.Drain(t.Context(), "shutdown", nil)
	require.ErrorIs(t, err, spec.ErrInvalid)
	assert.NoFileExists(t, filepath.Join(m.base, "ran"))
	_, err = script.New(script.Config{})
	require.Error(t, err)
}

// TestLogsLeadNowhere: a job's user owns the directory of its logs, and the agent writes to them as root.
func TestLogsLeadNowhere(t *testing.T) {
	m := newMachine(t, "a")
	m.script("a", "pre-start", "echo overwritten")
	dir := filepath.Join(m.base, "data/sys/log/a")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	victim := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o644))
	within := filepath.Join(m.base, "bosh", "etc")
	require.NoError(t, os.WriteFile(within, []byte("precious"), 0o600))
	log := filepath.Join(dir, "pre-start.stdout.log")
	for _, trap := range []func() error{
		func() error { return os.Symlink(victim, log) },
		func() error { return os.Symlink("../../../../bosh/etc", log) },
		func() error { return os.Symlink("../../../../bosh/made", log) },
		func() error { return syscall.Mkfifo(log, 0o644) },
		func() error { return os.Mkdir(log, 0o755) },
	} {
		require.NoError(t, trap())
		_, err := m.RunScript(t.Context(), "pre-start", script.Options{})
		require.Error(t, err)
		require.NoError(t, os.Remove(log))
	}
	for _, name := range []string{victim, within} {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.Equal(t, "precious", string(data))
	}
	assert.NoFileExists(t, filepath.Join(m.base, "bosh", "made"))
}

func TestErrand(t *testing.T) {
	m := newMachine(t, "first", "second", "empty")
	m.spec.Job.Template = "first"
	m.restart()
	m.script("first", "run", `echo out $(env | grep -cE '^(PATH|HOME=/|TMPDIR)'); echo err >&2; exit 3`)
	m.script("second", "run", "sleep 1000 & kill -9 $$")
	result, err := m.RunErrand(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, script.ErrandResult{ExitCode: 3, Stdout: "out 3\n", Stderr: "err\n"}, result)
	data, err := json.Marshal(result)
	require.NoError(t, err)
	assert.JSONEq(t, `{"exit_code":3,"stdout":"out 3\n","stderr":"err\n"}`, string(data))

	result, err = m.RunErrand(t.Context(), new("second"))
	require.NoError(t, err)
	assert.Equal(t, 137, result.ExitCode)
	_, err = m.RunErrand(t.Context(), new("unknown"))
	require.EqualError(t, err, "Could not find errand unknown")
	_, err = m.RunErrand(t.Context(), new("empty"))
	require.EqualError(t, err, "Job template empty does not have executable bin/run")
	require.NoError(t, os.Chmod(filepath.Join(m.base, "jobs/second/bin/run"), 0o644))
	_, err = m.RunErrand(t.Context(), new("second"))
	require.ErrorIs(t, err, os.ErrPermission)
	m.spec.Job.Template = ""
	m.restart()
	result, err = m.RunErrand(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, "out 3\n", result.Stdout, "the first job")
	m.spec = spec.Spec{}
	m.restart()
	_, err = m.RunErrand(t.Context(), nil)
	require.EqualError(t, err, "At least one job template is required to run an errand")
}

func TestErrandThatFloods(t *testing.T) {
	m := newMachine(t, "a")
	m.Config.MaxOutput = 1000
	m.restart()
	m.script("a", "run", `echo begin; head -c 5000000 /dev/zero | tr '\0' x; echo end; head -c 5000000 /dev/zero >&2`)
	result, err := m.RunErrand(t.Context(), new("a"))
	require.NoError(t, err)
	assert.Regexp(t, `(?s)^begin\nx+\n\.\.\. \d+ bytes left out \.\.\.\nx+end\n$`, result.Stdout)
	assert.Less(t, len(result.Stdout)+len(result.Stderr), 2100)
}

// TestErrandWhoseOutputGrowsInJSON: a result that does not fit into a message would lose the exit code too.
func TestErrandWhoseOutputGrowsInJSON(t *testing.T) {
	m := newMachine(t, "a")
	m.script("a", "run", `echo begin; head -c 2000000 /dev/zero; echo end; yes '<&>' | head -c 250000 >&2; exit 7`)
	result, err := m.RunErrand(t.Context(), new("a"))
	require.NoError(t, err)
	data, err := json.Marshal(result)
	require.NoError(t, err)
	assert.Less(t, len(data), 600<<10)
	assert.Equal(t, 7, result.ExitCode)
	assert.Regexp(t, `^begin\n\x00{1000}`, result.Stdout)
	assert.Regexp(t, `\x00{1000}end\n$`, result.Stdout)
	assert.Equal(t, 1, strings.Count(result.Stdout, "bytes left out"))
	var left int
	mark := result.Stdout[strings.Index(result.Stdout, "\n... "):]
	_, err = fmt.Sscanf(mark, "\n... %d bytes left out ...\n", &left)
	require.NoError(t, err)
	kept := len(result.Stdout) - len(fmt.Sprintf("\n... %d bytes left out ...\n", left))
	assert.Equal(t, len("begin\nend\n")+2000000, kept+left)
	assert.Regexp(t, `^<&>\n`, result.Stderr)
	assert.Contains(t, result.Stderr, "bytes left out", "though it was short enough before")
}

// hanging gives a job a script that ignores TERM, as does a child of it; await waits until they run and returns both pids.
func (m *machine) hanging(job, name string) (await func() []int) {
	pids := filepath.Join(m.base, job+".pids")
	m.script(job, name, `trap '' TERM; echo before; sleep 1000 & echo $$ $! >`+pids+`.x; mv `+pids+`.x `+pids+`; while :; do sleep 1000; done`)
	return func() (all []int) {
		require.Eventually(m.t, func() bool { _, err := os.Stat(pids); return err == nil }, 10*time.Second, time.Millisecond)
		data, err := os.ReadFile(pids)
		require.NoError(m.t, err)
		for _, field := range strings.Fields(string(data)) {
			pid, err := strconv.Atoi(field)
			require.NoError(m.t, err)
			all = append(all, pid)
		}
		return all
	}
}

func gone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		require.Eventually(t, func() bool {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(data), ") Z ")
		}, 10*time.Second, time.Millisecond, "process %d lives on", pid)
	}
}

func TestCancel(t *testing.T) {
	why := errors.New("cancelled")
	for name, run := range map[string]func(*machine, context.Context) (script.ErrandResult, error){
		"drain": func(m *machine, ctx context.Context) (r script.ErrandResult, err error) {
			_, err = m.Drain(ctx, "shutdown", nil)
			return r, err
		},
		"pre-start": func(m *machine, ctx context.Context) (r script.ErrandResult, err error) {
			_, err = m.RunScript(ctx, "pre-start", script.Options{})
			return r, err
		},
		"run": func(m *machine, ctx context.Context) (script.ErrandResult, error) { return m.RunErrand(ctx, new("a")) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, "a")
			await := m.hanging("a", name)
			ctx, cancel := context.WithCancelCause(t.Context())
			var result script.ErrandResult
			var err error
			done := make(chan struct{})
			go func() {
				defer close(done)
				result, err = run(m, ctx)
			}()
			pids := await()
			cancel(why)
			<-done
			gone(t, pids)
			if name == "run" {
				require.NoError(t, err, "who cancels an errand gets what it has done")
				assert.Equal(t, script.ErrandResult{ExitCode: 137, Stdout: "before\n"}, result)
				return
			}
			require.ErrorIs(t, err, why)
			assert.EqualError(t, err, "Script was cancelled by user request")
		})
	}
	m := newMachine(t, "a")
	m.script("a", "run", "true")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err := m.RunErrand(ctx, new("a"))
	require.ErrorIs(t, err, why, "one that never ran has no result")
}
