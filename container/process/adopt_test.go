package process_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
)

// What outlives a back end is tested by the conformance suite; here is what is peculiar to this one.

const depotEnv = "PROCESS_TEST_DEPOT"

// A legacy is what a back end leaves that was killed: a container "left" with one process and a port.
type legacy struct {
	Depot string
	PID   int
	Port  uint16
}

func (l legacy) path(name ...string) string {
	return filepath.Join(append([]string{l.Depot, "left"}, name...)...)
}

// liveUntilKilled is the life of a program that does not come to Close.
func liveUntilKilled(depot string) {
	b, err := process.New(process.Options{Depot: depot})
	ctx := context.Background()
	l := legacy{Depot: depot}
	if err == nil {
		err = liveWith(ctx, b, &l)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(l)
	_, _ = os.Stdin.Read(make([]byte, 1)) // for ever, or until the test has ended
	os.Exit(1)
}

func liveWith(ctx context.Context, b *process.Backend, l *legacy) error {
	c, err := b.Create(ctx, container.Spec{Handle: "left", Env: []string{"PASSWORD=hunter2"}})
	if err != nil {
		return err
	}
	m, err := c.NetIn(ctx, 0, 0)
	if err != nil {
		return err
	}
	l.Port = m.HostPort
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	if _, err := c.Run(ctx, shell("echo $$; exec sleep 1000"), container.IO{Stdout: in}); err != nil {
		return err
	}
	_, err = fmt.Fscan(out, &l.PID)
	return err
}

// crash returns the legacy of a program that was killed, after the checks.
func crash(t *testing.T, before ...func(legacy)) legacy {
	t.Helper()
	l := legacy{Depot: t.TempDir()}
	daemon := exec.Command(os.Args[0])
	daemon.Env = append(os.Environ(), depotEnv+"="+l.Depot)
	daemon.Stderr = os.Stderr
	stdin, err := daemon.StdinPipe()
	require.NoError(t, err)
	defer stdin.Close()
	out, err := daemon.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, daemon.Start())
	require.NoError(t, json.NewDecoder(out).Decode(&l))
	for _, check := range before {
		check(l)
	}
	require.NoError(t, daemon.Process.Kill())
	require.Error(t, daemon.Wait())
	require.True(t, runs(l.PID), "the container outlives its maker")
	t.Cleanup(func() { _ = unix.Kill(l.PID, unix.SIGKILL) }) // else a failed test leaves it
	return l
}

// succeed opens the depot again and returns what was logged.
func succeed(t *testing.T, l legacy, opts process.Options) (*process.Backend, string) {
	t.Helper()
	var log bytes.Buffer
	opts.Depot, opts.Logger = l.Depot, slog.New(slog.NewTextHandler(&log, nil))
	b := open(t, opts)
	return b, log.String()
}

// swept checks that nothing is left of the container, and that it can be made again.
func swept(t *testing.T, b *process.Backend, l legacy) {
	t.Helper()
	assert.False(t, runs(l.PID))
	_, err := b.Lookup(t.Context(), "left")
	assert.ErrorIs(t, err, container.ErrNotFound)
	assert.NoDirExists(t, l.path())
	create(t, b, container.Spec{Handle: "left"})
}

func TestFresh(t *testing.T) {
	l := crash(t, func(l legacy) {
		_, err := process.New(process.Options{Depot: l.Depot, Fresh: true})
		require.ErrorIs(t, err, process.ErrDepotInUse, "its back end lives")
	})
	b, log := succeed(t, l, process.Options{Fresh: true})
	assert.Contains(t, log, "processes=")
	assert.Contains(t, log, "handle=left")
	assert.False(t, b.Capabilities().Survives)
	swept(t, b, l)
}

// Whoever empties a depot by hand leaves its processes to the next back end.
func TestDepotEmptiedByHand(t *testing.T) {
	l := crash(t)
	require.NoError(t, os.RemoveAll(l.path()))
	b, log := succeed(t, l, process.Options{})
	assert.Contains(t, log, "processes=1")
	swept(t, b, l)
}

// A second attempt finishes what the first one had no time for.
func TestTakeOverTimeout(t *testing.T) {
	l := crash(t)
	_, err := process.New(process.Options{Depot: l.Depot, Fresh: true, TakeOverTimeout: time.Nanosecond})
	require.ErrorIs(t, err, process.ErrStrays)
	assert.ErrorContains(t, err, fmt.Sprintf("pids %d", l.PID))
	_, err = os.Stat(l.path())
	require.NoError(t, err, "nothing is removed whose processes may live")
	b, _ := succeed(t, l, process.Options{Fresh: true})
	swept(t, b, l)
	_, err = process.New(process.Options{Depot: t.TempDir(), TakeOverTimeout: -1})
	require.ErrorIs(t, err, container.ErrInvalid)
}

func TestAdoptedIsLogged(t *testing.T) {
	l := crash(t)
	_, log := succeed(t, l, process.Options{})
	assert.Contains(t, log, "adopting")
	assert.Contains(t, log, "processes=1")
	assert.NotContains(t, log, "hunter2")
	assert.True(t, runs(l.PID))
}

func TestRecordIsPrivate(t *testing.T) {
	l := crash(t)
	text, err := os.ReadFile(l.path("container.json"))
	require.NoError(t, err)
	require.Contains(t, string(text), "hunter2")
	info, err := os.Stat(l.path("container.json"))
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, info.Mode().Perm())
	info, err = os.Stat(l.path())
	require.NoError(t, err)
	assert.EqualValues(t, 0o700, info.Mode().Perm())
	open(t, process.Options{Depot: l.Depot, Fresh: true})
}

func TestWhatCannotBeAdopted(t *testing.T) {
	edit := func(old, new string) func(*testing.T, legacy) {
		return func(t *testing.T, l legacy) {
			text, err := os.ReadFile(l.path("container.json"))
			require.NoError(t, err)
			require.Contains(t, string(text), old)
			require.NoError(t, os.WriteFile(l.path("container.json"), bytes.Replace(text, []byte(old), []byte(new), 1), 0o600))
		}
	}
	replaceByPipe := func(name ...string) func(*testing.T, legacy) {
		return func(t *testing.T, l legacy) {
			require.NoError(t, os.Remove(l.path(name...)))
			require.NoError(t, unix.Mkfifo(l.path(name...), 0o600))
		}
	}
	for name, tc := range map[string]struct {
		spoil func(*testing.T, legacy)
		level string
	}{
		"half made":        {func(t *testing.T, l legacy) { require.NoError(t, os.Remove(l.path("container.json"))) }, "WARN"},
		"half removed":     {func(t *testing.T, l legacy) { require.NoError(t, os.RemoveAll(l.path("rootfs"))) }, "WARN"},
		"no process files": {func(t *testing.T, l legacy) { require.NoError(t, os.RemoveAll(l.path("processes"))) }, "WARN"},
		"truncated":        {func(t *testing.T, l legacy) { require.NoError(t, os.Truncate(l.path("container.json"), 100)) }, "ERROR"},
		"empty":            {func(t *testing.T, l legacy) { require.NoError(t, os.Truncate(l.path("container.json"), 0)) }, "ERROR"},
		"too long":         {func(t *testing.T, l legacy) { require.NoError(t, os.Truncate(l.path("container.json"), 1<<30)) }, "ERROR"},
		"foreign":          {edit(`"marker": "`, `"marker": "x`), "ERROR"},
		"of no state":      {edit(`"active"`, `"born"`), "ERROR"},
		"of another type":  {edit(`"active"`, `7`), "ERROR"},
		"no file":          {replaceByPipe("container.json"), "ERROR"},
		"no process file":  {replaceByPipe("processes", "1"), "ERROR"},
		"being removed":    {edit(`"state"`, `"doomed": true, "state"`), "INFO"},
	} {
		t.Run(name, func(t *testing.T) {
			l := crash(t)
			tc.spoil(t, l)
			require.NoError(t, os.WriteFile(filepath.Join(l.Depot, "junk.txt"), nil, 0o600))
			b, log := succeed(t, l, process.Options{})
			assert.Contains(t, log, "level="+tc.level)
			assert.Contains(t, log, "handle=left")
			assert.NoFileExists(t, filepath.Join(l.Depot, "junk.txt"))
			swept(t, b, l)
		})
	}
}

func TestLaterReleaseIsLeftAlone(t *testing.T) {
	l := crash(t)
	text, err := os.ReadFile(l.path("container.json"))
	require.NoError(t, err)
	newer := bytes.Replace(text, []byte(`"version": 1`), []byte(`"version": 2`), 1)
	require.NoError(t, os.WriteFile(l.path("container.json"), newer, 0o600))
	_, err = process.New(process.Options{Depot: l.Depot})
	require.ErrorContains(t, err, "Options.Fresh")
	assert.True(t, runs(l.PID))
	require.NoError(t, os.WriteFile(l.path("container.json"), text, 0o600))
	b := open(t, process.Options{Depot: l.Depot})
	_, err = b.Lookup(t.Context(), "left")
	require.NoError(t, err)
}

// TestPortsBetweenBackEnds asks for a port at which nobody listens while its back end is gone, and afterwards.
func TestPortsBetweenBackEnds(t *testing.T) {
	l := crash(t)
	stranger := create(t, open(t, process.Options{}), container.Spec{})
	taken := func() error {
		_, err := stranger.NetIn(t.Context(), l.Port, 0)
		return err
	}
	require.ErrorIs(t, taken(), container.ErrNoPort, "no back end is there")
	b, _ := succeed(t, l, process.Options{})
	c, err := b.Lookup(t.Context(), "left")
	require.NoError(t, err)
	require.ErrorIs(t, taken(), container.ErrNoPort, "it was adopted")
	require.NoError(t, c.Stop(t.Context(), true))
	require.ErrorIs(t, taken(), container.ErrNoPort, "the process has ended, the container is still there")
	require.NoError(t, c.Destroy(t.Context()))
	require.NoError(t, taken())
}

// TestPortTakenMeanwhile is for a container without a process that could hold its port.
func TestPortTakenMeanwhile(t *testing.T) {
	l := crash(t)
	require.NoError(t, unix.Kill(l.PID, unix.SIGKILL))
	stranger := create(t, open(t, process.Options{}), container.Spec{})
	require.Eventually(t, func() bool {
		_, err := stranger.NetIn(t.Context(), l.Port, 0)
		return err == nil
	}, 10*time.Second, time.Millisecond)
	b, log := succeed(t, l, process.Options{})
	assert.Contains(t, log, "level=ERROR")
	assert.Contains(t, log, fmt.Sprintf("port=%d", l.Port))
	c, err := b.Lookup(t.Context(), "left")
	require.NoError(t, err)
	require.NoError(t, c.Destroy(t.Context()))
	_, err = stranger.NetIn(t.Context(), l.Port, 0)
	require.ErrorIs(t, err, container.ErrNoPort, "what the stranger has was not given back")
}

func TestErrorsOfPrograms(t *testing.T) {
	b := open(t, process.Options{})
	c := create(t, b, container.Spec{})
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	home, _ := info.OnHost(container.AppHome)
	garbage := filepath.Join(home, "garbage")
	require.NoError(t, os.WriteFile(garbage, []byte("no program"), 0o755))
	for path, want := range map[string]error{
		"/does/not/exist": fs.ErrNotExist,
		home:              fs.ErrPermission,
		garbage:           unix.ENOEXEC,
		"./garbage":       unix.ENOEXEC,
	} {
		_, err := c.Run(t.Context(), container.ProcessSpec{Path: path}, container.IO{})
		require.ErrorIs(t, err, want)
		assert.NotContains(t, err.Error(), "/proc/self", "it says which program")
	}
	info, err = c.Info(t.Context())
	require.NoError(t, err)
	assert.Empty(t, info.Processes)
	entries, err := os.ReadDir(filepath.Join(info.Path, "processes"))
	require.NoError(t, err)
	assert.Empty(t, entries)
	var tooLong *os.PathError
	_, err = c.Run(t.Context(), container.ProcessSpec{Path: "true", Args: []string{string(bytes.Repeat([]byte("x"), 1<<20))}}, container.IO{})
	require.ErrorIs(t, err, unix.E2BIG)
	require.True(t, errors.As(err, &tooLong))
	assert.Equal(t, "true", filepath.Base(tooLong.Path))
}
