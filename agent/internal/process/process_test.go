package process_test

import (
	"context"
	"errors"
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
	"go.uber.org/goleak"

	"github.com/deakit/deakit/agent/internal/process"
	"github.com/deakit/deakit/internal/needs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func bash(t *testing.T, script string) process.Command {
	t.Helper()
	return process.Command{Path: needs.Tool(t, "bash", "bash"), Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin"}}
}

func TestRun(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 3": 3, "kill -9 $$": 137} {
		status, err := process.Run(t.Context(), bash(t, script))
		require.NoError(t, err)
		assert.Equal(t, want, status, script)
	}
	out, errs := process.NewBounded(100), process.NewBounded(100)
	c := bash(t, `echo "$A:$HOME:$PWD"; echo oops >&2`)
	c.Env, c.Dir, c.Stdout, c.Stderr = append(c.Env, "A=b"), "/", out, errs
	_, err := process.Run(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, "b::/\n", out.String(), "the environment is the given one alone")
	assert.Equal(t, "oops\n", errs.String())

	c.Path = "/no/such/program"
	_, err = process.Run(t.Context(), c)
	require.ErrorIs(t, err, os.ErrNotExist)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = process.Run(ctx, bash(t, "exit 0"))
	require.ErrorIs(t, err, context.Canceled)
}

func TestNice(t *testing.T) {
	now, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	require.NoError(t, err)
	out := process.NewBounded(100)
	// What is started before the group is made nicer is made so with it; what comes later gets it from its parent.
	c := bash(t, `while [ "$(cut -d' ' -f19 /proc/$$/stat)" != "$WANT" ]; do :; done; cut -d' ' -f19 /proc/self/stat`)
	want := strconv.Itoa(min(20-now+5, 19))
	c.Stdout, c.Nice, c.Env = out, 5, append(c.Env, "WANT="+want)
	_, err = process.Run(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, want+"\n", out.String())
}

// started runs a script that writes pids into a file called ready when it is set up, and returns them with a way to
// cancel it and to await its end.
func started(t *testing.T, script string, grace time.Duration) (pids []int, cancel func(), done chan error) {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	c := bash(t, script)
	c.Env, c.Grace = append(c.Env, "READY="+ready), grace
	ctx, stop := context.WithCancelCause(t.Context())
	done = make(chan error, 1)
	go func() {
		_, err := process.Run(ctx, c)
		done <- err
	}()
	require.Eventually(t, func() bool {
		data, err := os.ReadFile(ready)
		return err == nil && strings.HasSuffix(string(data), "\n")
	}, 10*time.Second, time.Millisecond)
	data, err := os.ReadFile(ready)
	require.NoError(t, err)
	for _, field := range strings.Fields(string(data)) {
		pid, err := strconv.Atoi(field)
		require.NoError(t, err)
		pids = append(pids, pid)
	}
	return pids, func() { stop(errGivenUp) }, done
}

var errGivenUp = errors.New("given up")

func gone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		require.Eventually(t, func() bool {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(data), ") Z ")
		}, 10*time.Second, time.Millisecond, "process %d lives on", pid)
	}
}

func TestCancelEndsTheGroup(t *testing.T) {
	const tree = `sleep 1000 & a=$!; (trap '' TERM; sleep 1000; sleep 1000) & b=$!; trap '' TERM; echo $$ $a $b >$READY.x; mv $READY.x $READY; while :; do sleep 1000; done`
	pids, cancel, done := started(t, tree, 50*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-done, errGivenUp)
	gone(t, pids)
}

// TestGrace: whoever ends on TERM has the time for it, also when its parent is gone at once.
func TestGrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cleaned")
	script := `(trap 'sleep 0.2; echo yes >` + file + `; exit' TERM; echo $$ $BASHPID >$READY.x; mv $READY.x $READY; while :; do sleep 0.05; done) & wait`
	pids, cancel, done := started(t, script, time.Minute)
	cancel()
	require.ErrorIs(t, <-done, errGivenUp)
	assert.FileExists(t, file)
	gone(t, pids)
}

func TestSweep(t *testing.T) {
	for _, sweep := range []bool{true, false} {
		out := process.NewBounded(100)
		c := bash(t, `sleep 1000 & echo $!`)
		c.Sweep, c.Stdout = sweep, out
		_, err := process.Run(t.Context(), c) // ends though the one that is left holds the pipe
		require.NoError(t, err)
		pid, err := strconv.Atoi(strings.TrimSpace(out.String()))
		require.NoError(t, err)
		if !sweep {
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL), "what is left behind lives on")
		}
		gone(t, []int{pid})
	}
}

func TestFlood(t *testing.T) {
	out := process.NewBounded(1000)
	c := bash(t, `echo first; head -c 20000000 /dev/zero | tr '\0' x; echo; echo last`)
	c.Stdout = out
	status, err := process.Run(t.Context(), c)
	require.NoError(t, err)
	assert.Zero(t, status)
	assert.True(t, out.Truncated())
	assert.Len(t, out.String(), 1000+len("\n... 19999012 bytes left out ...\n"))
	assert.True(t, strings.HasPrefix(out.String(), "first\nx"))
	assert.True(t, strings.HasSuffix(out.String(), "x\nlast\n"))
}

func TestBounded(t *testing.T) {
	for _, max := range []int{2, 3, 7, 8, 26, 27, 100} {
		for _, chunk := range []int{1, 2, 5, 26} {
			const text = "abcdefghijklmnopqrstuvwxyz"
			b := process.NewBounded(max)
			for rest := text; rest != ""; {
				n, err := b.Write([]byte(rest[:min(chunk, len(rest))]))
				require.NoError(t, err)
				rest = rest[n:]
			}
			want := text
			if max < len(text) {
				want = text[:max/2] + fmt.Sprintf("\n... %d bytes left out ...\n", len(text)-max) + text[len(text)-(max-max/2):]
			}
			assert.Equal(t, want, b.String(), "%d bytes in chunks of %d", max, chunk)
		}
	}
}

// TestForkBomb: processes that always make new ones end with their group, and with their mark where they left it.
func TestForkBomb(t *testing.T) {
	needs.Tool(t, "setsid", "util-linux")
	mark := "BOMB=" + t.TempDir()
	for script, leaves := range map[string]bool{
		`f() { sleep 0.005; f & }; f & f & f`:                                            false,
		`export S='sleep 0.02; setsid bash -c "$S" &'; setsid bash -c "$S" & sleep 0.05`: true,
	} {
		c := bash(t, script)
		c.Env, c.Sweep = append(c.Env, mark), true
		_, err := process.Run(t.Context(), c)
		require.NoError(t, err)
		if leaves {
			require.NoError(t, process.KillMarked(mark))
		}
		require.Eventually(t, func() bool { return !marked(t, mark) }, 10*time.Second, time.Millisecond, script)
	}
	for _, none := range []string{"", "=", "A", "A=", "=x"} {
		require.Error(t, process.KillMarked(none), "it would hit everybody")
	}
}

// marked tells whether a process has a variable in its environment.
func marked(t *testing.T, mark string) bool {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil && strings.Contains(string(data), mark) {
			return true
		}
	}
	return false
}

// A script is known while it runs, and runs also where it cannot be noted.
func TestRegister(t *testing.T) {
	base := t.TempDir()
	var log strings.Builder
	register := process.NewRegister(base, slog.New(slog.NewTextHandler(&log, nil)))
	var out strings.Builder
	run := func() {
		out.Reset()
		status, err := process.Run(t.Context(), process.Command{
			Path: "/bin/sh", Args: []string{"-c", "ls " + base + "/bosh/running; echo $DEAKIT_SCRIPT"}, Stdout: &out, Register: register,
			Env: []string{"PATH=/bin:/usr/bin"},
		})
		require.NoError(t, err)
		assert.Zero(t, status)
	}
	run()
	noted := strings.Fields(out.String())
	require.Len(t, noted, 2)
	assert.Equal(t, noted[0], noted[1])
	left, err := os.ReadDir(filepath.Join(base, "bosh/running"))
	require.NoError(t, err)
	assert.Empty(t, left)
	require.NoError(t, register.EndOrphans(t.Context(), 0), "there are none")

	require.NoError(t, os.RemoveAll(filepath.Join(base, "bosh")))
	require.NoError(t, os.WriteFile(filepath.Join(base, "bosh"), nil, 0o600))
	run()
	assert.Contains(t, log.String(), "script.not_registered")
	require.Error(t, register.EndOrphans(t.Context(), 0))
}
