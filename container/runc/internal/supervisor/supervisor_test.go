package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/needs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A lab is a supervisor in a pid namespace of its own.
type lab struct {
	*testing.T
	client *Client
	status *StatusFile
	init   *exec.Cmd
	last   uint32
}

func newLab(t *testing.T) *lab {
	needs.Root(t)
	dir := t.TempDir()
	program := filepath.Join(dir, "supervisor")
	image, err := Program(program, nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, image, 0o700))
	socket, err := Listen(filepath.Join(dir, "socket"))
	require.NoError(t, err)
	status, err := OpenStatus(filepath.Join(dir, "status"))
	require.NoError(t, err)
	t.Cleanup(func() { status.Close() })

	cmd := exec.Command(program)
	cmd.ExtraFiles = []*os.File{socket, status.File()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	require.NoError(t, cmd.Start())
	socket.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed, if it had not ended
	})
	return &lab{T: t, client: NewClient(filepath.Join(dir, "socket")), status: status, init: cmd}
}

func (l *lab) start(p Process, streams [3]*os.File) (uint32, error) {
	l.last++
	require.NoError(l, l.status.Reserve(l.last))
	ctx, cancel := context.WithTimeout(l.Context(), 20*time.Second)
	defer cancel()
	return l.last, l.client.Start(ctx, l.last, p, streams)
}

func shell(script string) Process {
	return Process{Paths: []string{"/bin/sh"}, Args: []string{"sh", "-c", script}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"}}
}

// run runs a process to its end, and returns its output, of both kinds.
func (l *lab) run(p Process) (string, syscall.WaitStatus) {
	l.Helper()
	r, w, err := os.Pipe()
	require.NoError(l, err)
	defer r.Close()
	id, err := l.start(p, [3]*os.File{nil, w, w})
	w.Close()
	require.NoError(l, err)
	out, err := io.ReadAll(r)
	require.NoError(l, err)
	return string(out), l.wait(id)
}

func (l *lab) wait(id uint32) syscall.WaitStatus {
	l.Helper()
	var st Status
	require.Eventually(l, func() (ended bool) {
		var err error
		st, err = l.status.Read(id)
		return err == nil && st.Ended
	}, 10*time.Second, time.Millisecond)
	return st.Wait
}

func TestProcesses(t *testing.T) {
	l := newLab(t)
	for _, status := range []int{0, 1, 127, 255} {
		_, got := l.run(shell(fmt.Sprintf("exit %d", status)))
		assert.Equal(t, status, got.ExitStatus())
	}
	assert.NoFileExists(t, l.init.Path, "it removes its name")
	_, got := l.run(shell("kill -USR1 $$"))
	assert.Equal(t, unix.SIGUSR1, got.Signal())

	p := shell(`echo $PPID $A; pwd; ulimit -n; id -u; id -g; id -G; echo err >&2; read x || echo no input; grep -E 'Cap(Prm|Eff|Inh|Amb)|SigBlk|SigIgn' /proc/self/status; ls /proc/self/fd`)
	p.Dir, p.UID, p.GID, p.Env = "/tmp", 12345, 12346, append(p.Env, "A=b c")
	p.Rlimits = []Rlimit{{unix.RLIMIT_NOFILE, 77}}
	out, _ := l.run(p)
	lines := strings.Split(out, "\n")
	assert.Equal(t, []string{"1 b c", "/tmp", "77", "12345", "12346", "12346", "err", "no input"}, lines[:8])
	for _, line := range lines[8:14] {
		name, value, _ := strings.Cut(line, ":")
		assert.Equal(t, "0000000000000000", strings.TrimSpace(value), name)
	}
	assert.Equal(t, []string{"0", "1", "2", "3"}, lines[14:18], "no descriptors but the streams; 3 is ls reading the directory")
	assert.Equal(t, []string{""}, lines[18:])
}

func TestStreams(t *testing.T) {
	l := newLab(t)
	in, feed, err := os.Pipe()
	require.NoError(t, err)
	outR, out, err := os.Pipe()
	require.NoError(t, err)
	defer outR.Close()
	id, err := l.start(Process{Paths: []string{"/bin/cat"}, Args: []string{"cat"}, Dir: "/"}, [3]*os.File{in, out, nil})
	require.NoError(t, err)
	in.Close()
	out.Close()
	data := bytes.Repeat([]byte("0123456789abcdef\x00\xff"), 40000)
	go func() {
		_, _ = feed.Write(data)
		feed.Close()
	}()
	got, err := io.ReadAll(outR)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(data, got))
	assert.Zero(t, l.wait(id))
}

func TestCannotStart(t *testing.T) {
	l := newLab(t)
	for step, p := range map[Step]Process{
		StepProgram: {Paths: []string{"/none", "/tmp"}, Dir: "/"},
		StepDir:     {Paths: []string{"/bin/true"}, Dir: "/none"},
		StepRlimits: {Paths: []string{"/bin/true"}, Dir: "/", Rlimits: []Rlimit{{12345, 1}}},
	} {
		_, err := l.start(p, [3]*os.File{})
		var failed *StepError
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, step, failed.Step, "%v", err)
	}
	big := shell("true")
	big.Env = []string{"A=" + strings.Repeat("x", RequestBytes)}
	_, err := l.start(big, [3]*os.File{})
	require.ErrorIs(t, err, ErrTooBig)
	_, got := l.run(Process{Paths: []string{"/none", "/bin/true"}, Args: []string{"true"}, Dir: "/"})
	assert.Zero(t, got, "the second name is tried")
}

func TestSignal(t *testing.T) {
	l := newLab(t)
	sleep := Process{Paths: []string{"/bin/sleep"}, Args: []string{"sleep", "1000"}, Dir: "/"}
	first, err := l.start(sleep, [3]*os.File{})
	require.NoError(t, err)
	second, err := l.start(sleep, [3]*os.File{})
	require.NoError(t, err)
	require.NoError(t, l.client.Signal(t.Context(), second, unix.SIGTERM))
	assert.Equal(t, unix.SIGTERM, l.wait(second).Signal())
	require.NoError(t, l.client.Signal(t.Context(), second, unix.SIGTERM), "of what has ended")
	st, err := l.status.Read(first)
	require.NoError(t, err)
	assert.Equal(t, Status{Started: true}, st)
}

func TestEnd(t *testing.T) {
	l := newLab(t)
	trap, err := l.start(shell("trap 'exit 7' TERM; touch ready; while :; do sleep 0.05; done"), [3]*os.File{})
	require.NoError(t, err)
	// An orphan in a session of its own.
	_, err = l.start(shell("setsid sh -c 'sleep 1000 & sleep 1000' & exit 3"), [3]*os.File{})
	require.NoError(t, err)
	for l.init.ProcessState == nil {
		// Once may be too early for the trap, or for the orphan.
		if err := l.client.End(t.Context(), unix.SIGTERM); errors.Is(err, ErrGone) {
			require.NoError(t, l.init.Wait(), "it ends when none is left")
		}
	}
	st, err := l.status.Read(trap)
	require.NoError(t, err)
	assert.True(t, st.Ended)
	_, err = l.start(shell("true"), [3]*os.File{})
	require.ErrorIs(t, err, ErrGone)
}

func TestEndOfNothing(t *testing.T) {
	l := newLab(t)
	require.NoError(t, l.client.End(t.Context(), unix.SIGTERM))
	require.NoError(t, l.init.Wait())
}

// TestMany starts more than can be awaited at a time.
func TestMany(t *testing.T) {
	l := newLab(t)
	sleep := Process{Paths: []string{"/bin/sleep"}, Args: []string{"sleep", "1000"}, Dir: "/"}
	for range MaxProcesses {
		_, err := l.start(sleep, [3]*os.File{})
		require.NoError(t, err)
	}
	_, err := l.start(sleep, [3]*os.File{})
	require.ErrorIs(t, err, unix.EAGAIN)
	require.NoError(t, l.client.Signal(t.Context(), 5, unix.SIGKILL))
	l.wait(5)
	last, err := l.start(sleep, [3]*os.File{})
	require.NoError(t, err)
	require.NoError(t, l.client.Signal(t.Context(), last, unix.SIGKILL))
	assert.Equal(t, unix.SIGKILL, l.wait(last).Signal())
	got, err := l.status.Last()
	require.NoError(t, err)
	assert.Equal(t, last, got)
}

// TestAlone checks that it refuses to be anything but the first process of a namespace: it signals all that it sees.
func TestAlone(t *testing.T) {
	program := filepath.Join(t.TempDir(), "supervisor")
	image, err := Program(program, nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, image, 0o700))
	err = exec.Command(program).Run()
	var failed *exec.ExitError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, exitRefused, failed.ExitCode())
	assert.FileExists(t, program)
}
