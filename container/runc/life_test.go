package runc_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc"
	"github.com/deakit/deakit/internal/needs"
)

func TestOptions(t *testing.T) {
	for _, opts := range []runc.Options{
		{},
		{Depot: t.TempDir(), StopGrace: -1},
		{Depot: t.TempDir(), Ports: runc.PortRange{First: 9, Last: 8}},
		{Depot: t.TempDir(), Disk: "tape"},
		{Depot: t.TempDir(), RootFS: "relative"},
		{Depot: t.TempDir(), Hide: []string{"relative"}},
		{Depot: t.TempDir(), UserNamespace: 1<<32 - 65536},
	} {
		_, err := runc.New(opts)
		assert.ErrorIs(t, err, container.ErrInvalid, "%+v", opts)
	}
	requirements(t)
	for _, opts := range []runc.NetworkOptions{{Pool: "x"}, {Allow: []string{"x"}}, {DNS: []string{"x"}}} {
		_, err := runc.New(runc.Options{Depot: t.TempDir(), Network: opts})
		assert.ErrorIs(t, err, container.ErrInvalid, "%+v", opts)
	}
	_, err := runc.New(runc.Options{Depot: t.TempDir(), UserNamespace: shifted, UIDs: 65536})
	require.ErrorIs(t, err, container.ErrInvalid)
	_, err = runc.New(runc.Options{Depot: t.TempDir(), Runtime: "/does/not/exist"})
	require.ErrorIs(t, err, runc.ErrMissing)
}

func TestNeedsRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		return // what happens then every other test looks at
	}
	_, err := runc.New(runc.Options{Depot: t.TempDir()})
	require.ErrorIs(t, err, runc.ErrMissing)
}

func TestDepotHasOneBackend(t *testing.T) {
	depot := filepath.Join(depotDir(t), "made", "if", "missing")
	first := open(t, runc.Options{Depot: depot})
	_, err := runc.New(runc.Options{Depot: depot})
	require.ErrorIs(t, err, runc.ErrDepotInUse)
	shut(t, first)
	shut(t, first) // once more does nothing
	open(t, runc.Options{Depot: depot})
}

func TestForeignDirectoryIsNoDepot(t *testing.T) {
	requirements(t)
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	require.NoError(t, os.WriteFile(precious, nil, 0o600))
	_, err := runc.New(runc.Options{Depot: dir})
	require.ErrorIs(t, err, runc.ErrNotDepot)
	assert.FileExists(t, precious)
}

// TestConfiguration looks at what runc is told: conformance item 34.
func TestConfiguration(t *testing.T) {
	b := open(t, runc.Options{})
	c := create(t, b, container.Spec{Limits: container.Limits{MemoryBytes: 100 << 20}})
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(info.Path, "config.json"))
	require.NoError(t, err)
	var spec specs.Spec
	require.NoError(t, json.Unmarshal(text, &spec))
	assert.True(t, filepath.IsAbs(spec.Linux.CgroupsPath))
	assert.True(t, spec.Process.NoNewPrivileges)
	assert.False(t, spec.Process.Terminal)
	assert.Nil(t, spec.Process.OOMScoreAdj)
	assert.Empty(t, spec.Process.Capabilities.Ambient)
	assert.Empty(t, spec.Process.Capabilities.Inheritable)
	assert.Contains(t, spec.Linux.MaskedPaths, "/proc/kcore")
	assert.Contains(t, spec.Linux.ReadonlyPaths, "/proc/sys")
	assert.NotNil(t, spec.Linux.Seccomp)
	both, err := os.ReadFile(filepath.Join("/sys/fs/cgroup/memory", spec.Linux.CgroupsPath, "memory.memsw.limit_in_bytes"))
	if os.IsNotExist(err) {
		needs.Skip(t, "no control groups of version 1 that count swap")
	}
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintln(100<<20), string(both))
}

// TestLeave lets a successor go on with what a process writes.
func TestLeave(t *testing.T) {
	depot := depotDir(t)
	b := open(t, runc.Options{Depot: depot})
	c := create(t, b, container.Spec{Handle: "stays"})
	var before syncBuffer
	p, err := c.Run(t.Context(), shell("echo before; while [ ! -e go ]; do sleep 0.02; done; echo after; echo err >&2; exit 4"),
		container.IO{Stdout: &before, Stderr: &before})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return before.String() == "before\n" }, 20*time.Second, time.Millisecond)
	waiting := make(chan error, 1)
	go func() {
		_, err := p.Wait(context.Background())
		waiting <- err
	}()
	require.NoError(t, b.Leave(t.Context()))
	require.ErrorIs(t, <-waiting, runc.ErrClosed)
	require.NoError(t, b.Leave(t.Context()), "once more does nothing")
	_, err = b.Create(t.Context(), container.Spec{})
	require.ErrorIs(t, err, runc.ErrClosed)

	b = open(t, runc.Options{Depot: depot})
	found, err := b.Lookup(t.Context(), "stays")
	require.NoError(t, err)
	var after syncBuffer
	p, err = found.Attach(t.Context(), p.ID(), container.IO{Stdout: &after})
	require.NoError(t, err)
	output(t, found, shell("touch go"))
	status, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 4, status)
	assert.Equal(t, "after\nerr\n", after.String(), "both streams, as they were one")
}

// syncBuffer is a buffer that is looked at while it is written to.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestFresh(t *testing.T) {
	depot := depotDir(t)
	b := open(t, runc.Options{Depot: depot})
	create(t, b, container.Spec{Handle: "old"})
	require.NoError(t, b.Leave(t.Context()))
	b = open(t, runc.Options{Depot: depot, Fresh: true})
	assert.False(t, b.Capabilities().Survives)
	handles, err := b.List(t.Context())
	require.NoError(t, err)
	assert.Empty(t, handles)
	create(t, b, container.Spec{Handle: "old"})
}

// TestDamage opens depots in which things are not as they were left.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string){
		"no record": func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "container.json"))) },
		"an empty record": func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(dir, "container.json"), 0))
		},
		"no disk": func(t *testing.T, dir string) {
			require.NoError(t, syscall.Unmount(filepath.Join(dir, "rootfs"), 0))
			require.NoError(t, syscall.Unmount(filepath.Join(dir, "disk"), 0))
		},
		"another boot": func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "container.json"), `"boot": "`, `"boot": "x`)
		},
		"another depot": func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "container.json"), `"mark": "`, `"mark": "x`)
		},
		"a nested mount": func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "container.json")))
			require.NoError(t, syscall.Mount("tmpfs", filepath.Join(dir, "streams"), "tmpfs", 0, ""))
		},
		"no runtime state": func(t *testing.T, dir string) {
			require.NoError(t, os.RemoveAll(filepath.Join(filepath.Dir(dir), ".runc")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			depot := depotDir(t)
			b := open(t, runc.Options{Depot: depot, Disk: runc.DiskLoop})
			c := create(t, b, container.Spec{Handle: "poor"})
			_, err := c.Run(t.Context(), shell("while :; do sleep 1; done"), container.IO{})
			require.NoError(t, err)
			require.NoError(t, b.Leave(t.Context()))
			damage(t, filepath.Join(depot, "poor"))
			b = open(t, runc.Options{Depot: depot, Disk: runc.DiskLoop})
			handles, err := b.List(t.Context())
			require.NoError(t, err)
			if name == "no runtime state" { // it is not needed any more
				assert.Equal(t, []string{"poor"}, handles)
				return
			}
			assert.Empty(t, handles)
			create(t, b, container.Spec{Handle: "poor"})
		})
	}
}

func edit(t *testing.T, name, old, replacement string) {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Contains(t, string(text), old)
	require.NoError(t, os.WriteFile(name, []byte(strings.Replace(string(text), old, replacement, 1)), 0o600))
}

// TestOtherOptions refuses to adopt containers whose network is not the one that it has.
func TestOtherOptions(t *testing.T) {
	depot := depotDir(t)
	b := open(t, runc.Options{Depot: depot})
	create(t, b, container.Spec{})
	require.NoError(t, b.Leave(t.Context()))
	_, err := runc.New(runc.Options{Depot: depot, Network: runc.NetworkOptions{Host: true}})
	require.ErrorContains(t, err, "Network, UIDs and UserNamespace must not change")
	b = open(t, runc.Options{Depot: depot})
	handles, err := b.List(t.Context())
	require.NoError(t, err)
	assert.Len(t, handles, 1, "nothing is lost by that")
}

// TestKilledSupervisor ends the first process of a container from outside.
func TestKilledSupervisor(t *testing.T) {
	b := open(t, runc.Options{})
	c := create(t, b, container.Spec{})
	p, err := c.Run(t.Context(), container.ProcessSpec{Path: "sleep", Args: []string{"1000"}}, container.IO{})
	require.NoError(t, err)
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(info.Path, "pid"))
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscan(string(text), &pid)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	status, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 137, status)
	require.Eventually(t, func() bool {
		info, err := c.Info(t.Context())
		return err == nil && info.State == container.StateStopped
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, c.Stop(t.Context(), false))
}

// TestSignalsInside lets an app try to end the supervisor, or to stop it.
func TestSignalsInside(t *testing.T) {
	b := open(t, runc.Options{})
	c := create(t, b, container.Spec{})
	for _, sig := range []string{"TERM", "KILL", "STOP", "HUP", "SEGV"} {
		for _, user := range []string{container.AppUser, "root"} {
			spec := shell("kill -" + sig + " 1")
			spec.User = user
			run(t, c, spec)
		}
	}
	assert.Equal(t, "fine\n", output(t, c, shell("echo fine")))
	_, status := run(t, c, shell("kill -9 $$"))
	assert.EqualValues(t, 137, status)
}

// TestGoneCreator cancels Create at many moments.
func TestGoneCreator(t *testing.T) {
	b := open(t, runc.Options{})
	for wait := time.Duration(0); wait < 80*time.Millisecond; wait += 7 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		c, err := b.Create(ctx, container.Spec{Handle: "again"})
		cancel()
		if err == nil {
			require.NoError(t, c.Destroy(t.Context()))
		} else {
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
	}
	create(t, b, container.Spec{Handle: "again"})
}

// TestFleet keeps many containers, and tells what one costs.
func TestFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	b := open(t, runc.Options{})
	const size = 30
	next := make(chan int)
	var made sync.WaitGroup
	for range runtime.NumCPU() {
		made.Go(func() {
			for range next {
				c, err := b.Create(context.Background(), container.Spec{})
				if !assert.NoError(t, err) {
					continue
				}
				_, err = c.Run(context.Background(), container.ProcessSpec{Path: "sleep", Args: []string{"1000"}}, container.IO{})
				assert.NoError(t, err)
			}
		})
	}
	for n := range size {
		next <- n
	}
	close(next)
	made.Wait()
	handles, err := b.List(t.Context())
	require.NoError(t, err)
	require.Len(t, handles, size)
	for _, h := range handles {
		c, err := b.Lookup(t.Context(), h)
		require.NoError(t, err)
		u, err := c.Usage(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, u.Processes)
	}
}

// TestStreamInAsUser writes where the user could, and nowhere else, though the back end could.
func TestStreamInAsUser(t *testing.T) {
	b := open(t, runc.Options{})
	c := create(t, b, container.Spec{})
	output(t, c, shell("ln -s /etc evil; mkdir closed; chmod 500 closed"))
	for _, dir := range []string{"/etc", "/home/vcap/evil", "/home/vcap/evil/new", "/home/vcap/closed"} {
		err := c.StreamIn(t.Context(), dir, "", strings.NewReader(""))
		require.ErrorIs(t, err, os.ErrPermission, dir)
	}
	for _, dir := range []string{"/app", "/tmp/staged/app", "/home/vcap/a/b"} {
		require.NoError(t, c.StreamIn(t.Context(), dir, "", strings.NewReader("")), dir)
	}
	require.NoError(t, c.StreamIn(t.Context(), "/opt/new", "root", strings.NewReader("")))
	assert.Equal(t, "root\nvcap\nvcap\n", output(t, c, shell("stat -c %U /opt/new /home/vcap/a/b /tmp/staged")))
}

// TestHeldUpStarts lets an app stop processes of its user before they have become their program: whoever starts them
// waits, and who ends the container does not.
func TestHeldUpStarts(t *testing.T) {
	for name, end := range map[string]func(context.Context, container.Container) error{
		"Stop":    func(ctx context.Context, c container.Container) error { return c.Stop(ctx, true) },
		"Destroy": func(ctx context.Context, c container.Container) error { return c.Destroy(ctx) },
	} {
		b := open(t, runc.Options{})
		c := create(t, b, withHelper(t))
		ready := make(chan struct{}, 100)
		_, err := c.Run(t.Context(), helperSpec("freeze"), container.IO{Stdout: signalWriter(ready)})
		require.NoError(t, err)
		<-ready
		const starts = 40
		var started sync.WaitGroup
		for range starts {
			started.Go(func() {
				if _, err := c.Run(context.Background(), shell("sleep 1000"), container.IO{}); err != nil {
					assert.ErrorIs(t, err, container.ErrStopped)
				}
			})
		}
		require.Eventually(t, func() bool {
			u, err := c.Usage(t.Context())
			return err == nil && u.Processes > starts
		}, 20*time.Second, 5*time.Millisecond, "all are there, most of them stopped")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		require.NoError(t, end(ctx, c), name)
		started.Wait()
	}
}

// TestHandlesLikeOptions takes handles that a program could take for something else.
func TestHandlesLikeOptions(t *testing.T) {
	b := open(t, runc.Options{})
	for _, handle := range []string{"-x", "--help", "--", "-", "_"} {
		c := create(t, b, container.Spec{Handle: handle})
		assert.Equal(t, handle+"\n", output(t, c, shell("cat /etc/hostname")))
		require.NoError(t, c.Destroy(t.Context()))
	}
}

// TestStreamsByName opens the streams of a process by their names, as programs do that log to files only.
func TestStreamsByName(t *testing.T) {
	b := open(t, runc.Options{})
	c := create(t, b, container.Spec{})
	for _, user := range []string{container.AppUser, "root"} {
		spec := shell("cat /dev/stdin >/dev/stdout; echo err >/dev/stderr")
		spec.User = user
		var stdout, stderr syncBuffer
		p, err := c.Run(t.Context(), spec, container.IO{Stdin: strings.NewReader("in\n"), Stdout: &stdout, Stderr: &stderr})
		require.NoError(t, err)
		status, err := p.Wait(t.Context())
		require.NoError(t, err)
		assert.Zero(t, status, user)
		assert.Equal(t, "in\nerr\n", stdout.String()+stderr.String(), user)
	}
}

// heldWriter takes what is written once it is closed.
type heldWriter chan struct{}

func (w heldWriter) Write(p []byte) (int, error) {
	<-w
	return len(p), nil
}

// TestLeaveAgain leaves once more when the first time a writer held it up.
func TestLeaveAgain(t *testing.T) {
	depot := depotDir(t)
	b := open(t, runc.Options{Depot: depot})
	c := create(t, b, container.Spec{})
	out := make(heldWriter)
	p, err := c.Run(t.Context(), shell("echo x"), container.IO{Stdout: out})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = p.Wait(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, b.Leave(ctx), context.DeadlineExceeded)
	close(out)
	require.NoError(t, b.Leave(t.Context()))
	open(t, runc.Options{Depot: depot}) // which ends the container
}

// TestNestedMounts finds the same files in mounts below mounts while processes are there and when they are gone.
func TestNestedMounts(t *testing.T) {
	outer, inner := t.TempDir(), t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(outer, "in"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(outer, "in/file"), []byte("outer"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(inner, "file"), []byte("inner"), 0o644))
	b := open(t, runc.Options{})
	c := create(t, b, container.Spec{BindMounts: []container.BindMount{{Src: outer, Dst: "/m"}, {Src: inner, Dst: "/m/in"}}})
	read := func() string {
		stream, err := c.StreamOut(t.Context(), "/m/in/file")
		require.NoError(t, err)
		defer stream.Close()
		archive := tar.NewReader(stream)
		_, err = archive.Next()
		require.NoError(t, err)
		content, err := io.ReadAll(archive)
		require.NoError(t, err)
		return string(content)
	}
	assert.Equal(t, "inner", read())
	require.NoError(t, c.Stop(t.Context(), true))
	assert.Equal(t, "inner", read())
}
