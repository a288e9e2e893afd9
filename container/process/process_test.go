package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/containertest"
	"github.com/deakit/deakit/container/process"
)

func TestMain(m *testing.M) {
	containertest.Helper()
	if depot := os.Getenv(depotEnv); depot != "" {
		liveUntilKilled(depot)
	}
	goleak.VerifyTestMain(m)
}

// open returns a back end that is closed with the test.
func open(t testing.TB, opts process.Options) *process.Backend {
	t.Helper()
	if opts.Depot == "" {
		opts.Depot = t.TempDir()
	}
	b, err := process.New(opts)
	require.NoError(t, err)
	t.Cleanup(func() { shut(t, b) })
	return b
}

func shut(t testing.TB, b *process.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(t, b.Close(ctx))
}

func create(t testing.TB, b *process.Backend, spec container.Spec) container.Container {
	t.Helper()
	c, err := b.Create(context.Background(), spec)
	require.NoError(t, err)
	return c
}

func shell(script string) container.ProcessSpec {
	return container.ProcessSpec{Path: "sh", Args: []string{"-c", script}}
}

func TestConformance(t *testing.T) {
	containertest.Run(t, config(t, process.Options{}))
}

// TestConformanceWithoutSupervisor is for processors for which there is none, and systems that forbid to execute it.
func TestConformanceWithoutSupervisor(t *testing.T) {
	cfg := config(t, process.WithoutSupervisor(process.Options{}))
	cfg.Tolerances.LostStatus = true
	cfg.Groups = []string{"Life", "Run", "IO", "Limits", "Stop", "Survive"} // a supervisor has no part in the others
	containertest.Run(t, cfg)
}

// config has one back end for all tests but those of survival: to open it is what takes longest.
func config(t *testing.T, opts process.Options) containertest.Config {
	opts.StopGrace, opts.WatchInterval = 500*time.Millisecond, 50*time.Millisecond
	shared := sync.OnceValue(func() *process.Backend { return open(t, opts) })
	return containertest.Config{
		StopGrace: opts.StopGrace,
		New:       func(*testing.T) container.Backend { return shared() },
		Open: func(t *testing.T, dir string) container.Backend {
			opts := opts
			opts.Depot = dir
			return open(t, opts)
		},
	}
}

func TestOptions(t *testing.T) {
	for _, opts := range []process.Options{
		{},
		{Depot: t.TempDir(), StopGrace: -1},
		{Depot: t.TempDir(), WatchInterval: -1},
		{Depot: t.TempDir(), Ports: process.PortRange{First: 9, Last: 8}},
		{Depot: t.TempDir(), Ports: process.PortRange{Last: 8}},
	} {
		_, err := process.New(opts)
		assert.ErrorIs(t, err, container.ErrInvalid, "%+v", opts)
	}
}

func TestDepotHasOneBackend(t *testing.T) {
	depot := filepath.Join(t.TempDir(), "made", "if", "missing")
	first := open(t, process.Options{Depot: depot})
	_, err := process.New(process.Options{Depot: depot})
	require.ErrorIs(t, err, process.ErrDepotInUse)
	shut(t, first)
	shut(t, first) // once more does nothing
	open(t, process.Options{Depot: depot})
}

func TestForeignDirectoryIsNoDepot(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	require.NoError(t, os.WriteFile(precious, nil, 0o600))
	_, err := process.New(process.Options{Depot: dir})
	require.ErrorIs(t, err, process.ErrNotDepot)
	assert.FileExists(t, precious)
}

func TestClose(t *testing.T) {
	depot := t.TempDir()
	b := open(t, process.Options{Depot: depot})
	c := create(t, b, container.Spec{})
	p, err := c.Run(t.Context(), shell("trap '' TERM; while :; do sleep 1; done"), container.IO{})
	require.NoError(t, err)
	shut(t, b)
	status, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 137, status)

	_, err = b.Create(t.Context(), container.Spec{})
	require.ErrorIs(t, err, process.ErrClosed)
	entries, err := os.ReadDir(depot)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "only the lock file is left: %v", entries)
}

func TestCloseWhileCreating(t *testing.T) {
	b := open(t, process.Options{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				if _, err := b.Create(t.Context(), container.Spec{}); err != nil {
					assert.ErrorIs(t, err, process.ErrClosed)
					return
				}
			}
		})
	}
	require.Eventually(t, func() bool {
		handles, err := b.List(t.Context())
		return err == nil && len(handles) > 3
	}, 10*time.Second, time.Millisecond)
	shut(t, b)
	wg.Wait()
	handles, err := b.List(t.Context())
	require.NoError(t, err)
	assert.Empty(t, handles)
}

// runs tells whether a process is there and not a zombie.
func runs(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

func TestMarkerCannotBeChanged(t *testing.T) {
	b := open(t, process.Options{})
	c := create(t, b, container.Spec{Env: []string{"DEAKIT_CONTAINER=a"}})
	var out bytes.Buffer
	spec := shell("echo $DEAKIT_CONTAINER")
	spec.Env = []string{"DEAKIT_CONTAINER=b"}
	p, err := c.Run(t.Context(), spec, container.IO{Stdout: &out})
	require.NoError(t, err)
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	assert.Contains(t, out.String(), c.Handle())
}

func TestOutputHeldOutside(t *testing.T) {
	b := open(t, process.Options{})
	c := create(t, b, container.Spec{})
	var out bytes.Buffer
	p, err := c.Run(t.Context(), shell("echo before; echo $$ >pid; exec sleep 1000"), container.IO{Stdout: &out})
	require.NoError(t, err)
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	file, _ := info.OnHost("/home/vcap/pid")
	var pid string
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(file)
		pid = strings.TrimSpace(string(text))
		return strings.HasSuffix(string(text), "\n")
	}, 10*time.Second, time.Millisecond)

	held, err := os.OpenFile("/proc/"+pid+"/fd/1", os.O_WRONLY, 0) // as a debugger could
	require.NoError(t, err)
	defer held.Close()
	require.NoError(t, c.Stop(t.Context(), true))
	_, err = held.WriteString("after\n")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	status, err := p.Wait(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 137, status)
	assert.Equal(t, "before\nafter\n", out.String())
}

func TestBindMountsThatCannotBe(t *testing.T) {
	b := open(t, process.Options{})
	src := t.TempDir()
	for _, mounts := range [][]container.BindMount{
		{{Src: src, Dst: "/a"}, {Src: src, Dst: "/a/b"}},
		{{Src: src, Dst: "/a/b"}, {Src: src, Dst: "/a"}},
		{{Src: src, Dst: "/a"}, {Src: src, Dst: "/a"}},
		{{Src: src, Dst: "/home"}},
		{{Src: src, Dst: "/"}},
	} {
		_, err := b.Create(t.Context(), container.Spec{Handle: "x", BindMounts: mounts})
		assert.ErrorIs(t, err, container.ErrUnsupported, "%v", mounts)
	}
	c := create(t, b, container.Spec{Handle: "x", BindMounts: []container.BindMount{
		{Src: src, Dst: "/home/vcap", Writable: true}, {Src: src, Dst: "/tmp"},
	}})
	p, err := c.Run(t.Context(), shell("echo x >at-home"), container.IO{})
	require.NoError(t, err)
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(src, "at-home"))
	require.NoError(t, c.Destroy(t.Context()))
	assert.FileExists(t, filepath.Join(src, "at-home"))
}

func TestPortsOfTheHost(t *testing.T) {
	a, b := open(t, process.Options{}), open(t, process.Options{})
	one, two := create(t, a, container.Spec{}), create(t, b, container.Spec{})
	m, err := one.NetIn(t.Context(), 0, 0)
	require.NoError(t, err)
	_, err = two.NetIn(t.Context(), m.HostPort, 0)
	require.ErrorIs(t, err, container.ErrNoPort, "another back end holds it")

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	taken := uint16(listener.Addr().(*net.TCPAddr).Port)
	_, err = two.NetIn(t.Context(), taken, 0)
	require.ErrorIs(t, err, container.ErrNoPort, "a stranger listens at it")
	require.NoError(t, listener.Close())
	_, err = two.NetIn(t.Context(), taken, 0)
	require.NoError(t, err)

	small := open(t, process.Options{Ports: process.PortRange{First: m.HostPort, Last: m.HostPort}})
	_, err = create(t, small, container.Spec{}).NetIn(t.Context(), 0, 0)
	require.ErrorIs(t, err, container.ErrNoPort, "the pool is empty")
}

func TestReadersThatNeverEnd(t *testing.T) {
	b := open(t, process.Options{})
	c := create(t, b, container.Spec{})
	stdin, feed, err := os.Pipe()
	require.NoError(t, err)
	defer stdin.Close()
	p, err := c.Run(t.Context(), shell("exit 9"), container.IO{Stdin: stdin})
	require.NoError(t, err)
	status, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 9, status, "the input is still open")
	require.NoError(t, feed.Close())

	_, err = c.Attach(t.Context(), p.ID(), container.IO{Stdin: strings.NewReader("")})
	assert.ErrorIs(t, err, container.ErrUnsupported)
}

func TestStuckWriterDoesNotKeepStop(t *testing.T) {
	b := open(t, process.Options{})
	c := create(t, b, container.Spec{})
	r, w, err := os.Pipe()
	require.NoError(t, err)
	p, err := c.Run(t.Context(), shell("exec cat /dev/zero"), container.IO{Stdout: w})
	require.NoError(t, err)
	_, err = r.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, c.Stop(t.Context(), true))

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = p.Wait(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded, "its output is not delivered")
	err = b.Close(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, r.Close())
	require.NoError(t, w.Close())
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
}

func TestUnenforced(t *testing.T) {
	missing := open(t, process.Options{}).Capabilities().Unenforced()
	assert.Contains(t, missing, "disk limit")
	assert.NotContains(t, missing, "memory limit")
}

func TestErrorsDoNotShowTheEnvironment(t *testing.T) {
	b := open(t, process.Options{})
	_, err := b.Create(t.Context(), container.Spec{Env: []string{"PASSWORD=hunter2\x00"}})
	require.ErrorIs(t, err, container.ErrInvalid)
	assert.NotContains(t, err.Error(), "hunter2")
	c := create(t, b, container.Spec{})
	_, err = c.Run(t.Context(), container.ProcessSpec{Path: "true", Env: []string{"hunter2"}}, container.IO{})
	require.ErrorIs(t, err, container.ErrInvalid)
	assert.NotContains(t, err.Error(), "hunter2")
	assert.False(t, errors.Is(err, container.ErrStopped))
}
