package hostproc_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/internal/hostproc"
	"github.com/deakit/deakit/internal/needs"
)

// sleeper starts a process that has a mark in its environment.
func sleeper(t *testing.T, mark string, flags uintptr) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(needs.Tool(t, "sleep", "coreutils"), "1000")
	cmd.Env = []string{"VCAP_APPLICATION=" + `{"instance_id":"` + mark + `"}`}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it was killed
	})
	return cmd
}

func TestFindOnTheHost(t *testing.T) {
	cmd := sleeper(t, "0f3a", 0)
	p, err := hostproc.Find(cmd.Process.Pid, "0f3a")
	require.NoError(t, err)
	defer p.Release()
	assert.Equal(t, cmd.Process.Pid, p.Pid)
	for name, tc := range map[string]struct {
		pid  int
		mark string
	}{
		"another mark": {cmd.Process.Pid, "1f3a"},
		"another pid":  {cmd.Process.Pid + 1, "0f3a"},
		"no mark":      {cmd.Process.Pid, ""},
		"no pid":       {0, "0f3a"},
		"a group":      {-cmd.Process.Pid, "0f3a"},
		"itself":       {os.Getpid(), "PATH="},
	} {
		_, err := hostproc.Find(tc.pid, tc.mark)
		assert.ErrorIs(t, err, hostproc.ErrNotFound, name)
	}
}

// What a container calls process 1 is another one on the host, and never the host's own.
func TestFindInAContainer(t *testing.T) {
	needs.Root(t)
	first, second := sleeper(t, "aaaa", syscall.CLONE_NEWPID), sleeper(t, "bbbb", syscall.CLONE_NEWPID)
	for mark, cmd := range map[string]*exec.Cmd{"aaaa": first, "bbbb": second} {
		p, err := hostproc.Find(1, mark)
		require.NoError(t, err)
		assert.Equal(t, cmd.Process.Pid, p.Pid)
		require.NoError(t, p.Release())
	}
	_, err := hostproc.Find(1, "PATH=")
	assert.ErrorIs(t, err, hostproc.ErrNotFound)
	p, err := hostproc.Find(1, "aaaa")
	require.NoError(t, err)
	require.NoError(t, p.Kill())
	assert.Error(t, first.Wait())
	_, err = hostproc.Find(1, "aaaa")
	assert.ErrorIs(t, err, hostproc.ErrNotFound)
	assert.ErrorIs(t, p.Signal(syscall.SIGKILL), os.ErrProcessDone)

	sleeper(t, "bbbb", syscall.CLONE_NEWPID)
	_, err = hostproc.Find(1, "bbbb")
	assert.ErrorIs(t, err, hostproc.ErrNotFound, "two could be it")
}
