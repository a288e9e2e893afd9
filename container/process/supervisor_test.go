package process_test

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
)

// sleeper starts a process that sleeps, and returns it with its pid and that of its supervisor.
func sleeper(t *testing.T, c container.Container) (p container.Process, pid, keeper int) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	defer r.Close()
	spec := shell("echo $$ $PPID; exec sleep 1000")
	spec.Env = []string{"PASSWORD=hunter2"}
	p, err = c.Run(t.Context(), spec, container.IO{Stdout: w})
	require.NoError(t, err)
	_, err = fmt.Fscan(r, &pid, &keeper)
	require.NoError(t, err)
	require.NotEqual(t, os.Getpid(), keeper, "it has a supervisor")
	return p, pid, keeper
}

func procFile(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	require.NoError(t, err)
	return string(text)
}

func TestSupervisorKeepsNothing(t *testing.T) {
	c := create(t, open(t, process.Options{}), container.Spec{})
	_, err := c.NetIn(t.Context(), 0, 0)
	require.NoError(t, err)
	_, pid, keeper := sleeper(t, c)

	require.Eventually(t, func() bool { // empty for a moment while it executes its program
		return strings.Contains(procFile(t, pid, "environ"), "hunter2")
	}, 10*time.Second, time.Millisecond)
	assert.NotContains(t, procFile(t, keeper, "environ"), "hunter2")
	assert.Equal(t, "deakit-supervisor", strings.Trim(procFile(t, keeper, "cmdline"), "\x00"))

	var resident, pages int
	_, err = fmt.Sscan(procFile(t, keeper, "statm"), &pages, &resident)
	require.NoError(t, err)
	assert.Less(t, resident*os.Getpagesize(), 128<<10)

	held, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", keeper))
	require.NoError(t, err)
	assert.Len(t, held, 2, "the process file and the port")
	require.Eventually(t, func() bool { // it may be reading its libraries
		held, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		return err == nil && len(held) == 3
	}, 10*time.Second, time.Millisecond)

	u, err := c.Usage(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, u.Processes)
}

func TestSupervisorIgnoresSignals(t *testing.T) {
	c := create(t, open(t, process.Options{}), container.Spec{})
	p, _, keeper := sleeper(t, c)
	for sig := unix.Signal(1); sig < 65; sig++ {
		if sig != unix.SIGKILL && sig != unix.SIGSTOP {
			require.NoError(t, unix.Kill(keeper, sig))
		}
	}
	require.NoError(t, p.Signal(t.Context(), unix.SIGTERM))
	status, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 143, status)
}

func TestSupervisorKilled(t *testing.T) {
	c := create(t, open(t, process.Options{}), container.Spec{})
	p, pid, keeper := sleeper(t, c)
	require.NoError(t, unix.Kill(keeper, unix.SIGKILL))
	require.Eventually(t, func() bool { return !runs(keeper) }, 10*time.Second, time.Millisecond)
	require.True(t, runs(pid))
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []uint32{1}, info.Processes)

	require.NoError(t, p.Signal(t.Context(), unix.SIGTERM))
	status, err := p.Wait(t.Context())
	require.ErrorIs(t, err, container.ErrStatusUnknown)
	assert.EqualValues(t, -1, status)
	require.NoError(t, p.Signal(t.Context(), unix.SIGTERM), "of one that has ended")
	require.NoError(t, c.Destroy(t.Context()))
}

// TestSupervisorStopped stops it, as a careless "kill -STOP -1" does.
func TestSupervisorStopped(t *testing.T) {
	c := create(t, open(t, process.Options{}), container.Spec{})
	p, _, keeper := sleeper(t, c)
	require.NoError(t, unix.Kill(keeper, unix.SIGSTOP))
	require.NoError(t, c.Destroy(t.Context()))
	assert.False(t, runs(keeper))
	_, err := p.Wait(t.Context())
	assert.ErrorIs(t, err, container.ErrStatusUnknown)
}

// TestDiscardedOutputIsNoPipe looks at where the output of a process goes that nobody reads.
func TestDiscardedOutputIsNoPipe(t *testing.T) {
	c := create(t, open(t, process.Options{}), container.Spec{})
	r, w := io.Pipe()
	_, err := c.Run(t.Context(), shell("a=$(readlink /proc/$$/fd/0 /proc/$$/fd/1); echo \"$a\" >&2"), container.IO{Stderr: w})
	require.NoError(t, err)
	line := make([]byte, 200)
	n, err := r.Read(line)
	require.NoError(t, err)
	assert.Equal(t, "/dev/null\n/dev/null\n", string(line[:n]))
	require.NoError(t, r.Close())
}
