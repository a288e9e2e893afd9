package memory_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/memory"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/tarball"
	"github.com/deakit/deakit/messaging"
)

var errScripted = errors.New("as the test wants it")

func idle(ctx context.Context, _ *memory.Process) int {
	<-ctx.Done()
	return 0
}

// create makes a back end with one container and a process that runs program. In a bubble, goroutines that are left at its
// end fail the test.
func create(t *testing.T, spec container.Spec, program memory.Program) (*memory.Backend, container.Container, *memory.Process) {
	b := memory.New(memory.Options{Default: program})
	c, err := b.Create(t.Context(), spec)
	require.NoError(t, err)
	p, err := c.Run(t.Context(), container.ProcessSpec{Path: "anything"}, container.IO{})
	require.NoError(t, err)
	return b, c, p.(*memory.Process)
}

func TestFailures(t *testing.T) {
	b, c, p := create(t, container.Spec{}, idle)
	ctx := t.Context()
	for call, do := range map[memory.Call]func() error{
		memory.Create:    func() error { _, err := b.Create(ctx, container.Spec{}); return err },
		memory.Lookup:    func() error { _, err := b.Lookup(ctx, c.Handle()); return err },
		memory.List:      func() error { _, err := b.List(ctx); return err },
		memory.Info:      func() error { _, err := c.Info(ctx); return err },
		memory.Run:       func() error { _, err := c.Run(ctx, container.ProcessSpec{Path: "x"}, container.IO{}); return err },
		memory.Attach:    func() error { _, err := c.Attach(ctx, 1, container.IO{}); return err },
		memory.SetLimits: func() error { return c.SetLimits(ctx, container.Limits{}) },
		memory.NetIn:     func() error { _, err := c.NetIn(ctx, 0, 0); return err },
		memory.NetOut:    func() error { return c.NetOut(ctx, container.EgressRule{Protocol: container.TCP}) },
		memory.StreamIn:  func() error { return c.StreamIn(ctx, "/tmp", "", bytes.NewReader(nil)) },
		memory.StreamOut: func() error { _, err := c.StreamOut(ctx, "/tmp"); return err },
		memory.Usage:     func() error { _, err := c.Usage(ctx); return err },
		memory.Signal:    func() error { return p.Signal(ctx, syscall.SIGCHLD) },
	} {
		b.Next(call, memory.Fail(errScripted))
		assert.ErrorIs(t, do(), errScripted, call)
		assert.NoError(t, do(), "only the next %s fails", call)
	}
	for range 2 {
		b.Next(memory.Destroy, memory.Fail(errScripted))
	}
	b.Next(memory.Stop, memory.Fail(errScripted))
	assert.ErrorIs(t, c.Stop(ctx, true), errScripted)
	assert.ErrorIs(t, c.Destroy(ctx), errScripted)
	assert.ErrorIs(t, c.Destroy(ctx), errScripted)
	info, err := c.Info(ctx)
	require.NoError(t, err)
	assert.Equal(t, container.StateActive, info.State, "a call that fails does nothing")
	require.NoError(t, b.Close(ctx))
	_, err = b.Create(ctx, container.Spec{})
	assert.ErrorIs(t, err, memory.ErrClosed)
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c, _ := create(t, container.Spec{}, idle)
		for _, want := range []error{nil, errScripted} {
			gate := memory.NewGate()
			b.Next(memory.Usage, gate.Hold)
			got := make(chan error, 1)
			go func() { _, err := c.Usage(t.Context()); got <- err }()
			<-gate.Reached()
			_, err := c.Usage(t.Context())
			require.NoError(t, err, "only the next call is held, and holds up no other")
			synctest.Wait()
			assert.Empty(t, got)
			gate.Release(want)
			assert.ErrorIs(t, <-got, want)
		}
		gate := memory.NewGate()
		b.Next(memory.Stop, gate.Hold)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		assert.ErrorIs(t, c.Stop(ctx, true), context.DeadlineExceeded)
		require.NoError(t, b.Close(t.Context()))
	})
}

func TestGraceTimeIsVirtual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c, p := create(t, container.Spec{}, func(ctx context.Context, p *memory.Process) int {
			p.Trap(syscall.SIGTERM) // and takes no notice
			<-ctx.Done()
			return 0
		})
		synctest.Wait()
		begun := time.Now()
		require.NoError(t, c.Stop(t.Context(), false))
		assert.Equal(t, 10*time.Second, time.Since(begun))
		status, err := p.Wait(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 137, status)
		require.NoError(t, b.Close(t.Context()))
	})
}

func TestLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, c, p := create(t, container.Spec{Limits: container.Limits{MemoryBytes: 1000}}, idle)
		p.SetLoad(memory.Load{MemoryBytes: 600, DiskBytes: 70, Cores: 0.5})
		require.NoError(t, p.Files().WriteFile("file", make([]byte, 7), 0o600))
		before, err := c.Usage(t.Context())
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		after, err := c.Usage(t.Context())
		require.NoError(t, err)
		assert.Equal(t, container.Usage{MemoryBytes: 600, DiskBytes: 77, CPUTime: 5 * time.Second, Processes: 1, At: time.Now()}, after)
		assert.Equal(t, 0.5, after.CPU(before))

		second, err := c.Run(t.Context(), container.ProcessSpec{Path: "x"}, container.IO{})
		require.NoError(t, err)
		second.(*memory.Process).SetLoad(memory.Load{MemoryBytes: 401}) // together above the limit
		for _, process := range []container.Process{p, second} {
			status, err := process.Wait(t.Context())
			require.NoError(t, err)
			assert.EqualValues(t, 137, status)
		}
		info, err := c.Info(t.Context())
		require.NoError(t, err)
		assert.Equal(t, container.StateStopped, info.State)
		assert.Equal(t, []string{container.EventOutOfMemory}, info.Events)
		ended, err := c.Usage(t.Context())
		require.NoError(t, err)
		assert.Equal(t, container.Usage{DiskBytes: 7, CPUTime: 5 * time.Second, At: time.Now()}, ended, "what was used counts on")
		require.NoError(t, b.Close(t.Context()))
	})
}

// A process that waits for a reader, or for input that does not come, is ended all the same.
func TestBlockedStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New(memory.Options{Programs: map[string]memory.Program{
			"write": func(_ context.Context, p *memory.Process) int {
				for {
					if _, err := p.Stdout.Write(make([]byte, 1000)); err != nil {
						return 1
					}
				}
			},
			"read": func(_ context.Context, p *memory.Process) int {
				_, _ = io.ReadAll(p.Stdin)
				return 1
			},
		}})
		c, err := b.Create(t.Context(), container.Spec{})
		require.NoError(t, err)
		unread, out := io.Pipe()
		in, never := io.Pipe()
		_, err = c.Run(t.Context(), container.ProcessSpec{Path: "write"}, container.IO{Stdout: out})
		require.NoError(t, err)
		_, err = c.Run(t.Context(), container.ProcessSpec{Path: "read"}, container.IO{Stdin: in})
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, c.Destroy(t.Context()))
		unread.Close()
		never.Close()
	})
}

func TestFiles(t *testing.T) {
	b, c, p := create(t, container.Spec{}, idle)
	f := p.Files()
	require.NoError(t, f.WriteFile("logs/out", []byte("a"), 0o600))
	require.NoError(t, f.Append("logs/out", []byte("b")))
	require.NoError(t, f.Append("/home/vcap/./logs/new", []byte("c")))
	data, err := f.ReadFile("/home/vcap/logs/out")
	require.NoError(t, err)
	assert.Equal(t, "ab", string(data))
	assert.Equal(t, []string{"/home/vcap/logs", "/home/vcap/logs/new", "/home/vcap/logs/out"}, f.List("logs"))
	assert.Empty(t, f.List("log"))

	_, err = f.ReadFile("missing")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = f.ReadFile("logs")
	assert.ErrorIs(t, err, syscall.EISDIR)
	assert.ErrorIs(t, f.WriteFile("logs", nil, 0o600), syscall.EISDIR)
	assert.ErrorIs(t, f.WriteFile("logs/out/x/y", nil, 0o600), syscall.ENOTDIR)
	assert.Len(t, f.List("logs"), 3, "what failed left nothing")
	f.Remove("logs")
	assert.Empty(t, f.List("logs"))
	assert.NotEmpty(t, f.List("/home/vcap"))
	f.Remove("logs") // once more is harmless

	// Hard links stay links, also on the way out.
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Mode: 0o640, Size: 3}))
	_, err = w.Write([]byte("abc"))
	require.NoError(t, err)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "b", Typeflag: tar.TypeLink, Linkname: "a"}))
	require.NoError(t, w.Close())
	require.NoError(t, c.StreamIn(t.Context(), "/d", "", &archive))
	u, err := c.Usage(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 3, u.DiskBytes)
	out, err := c.StreamOut(t.Context(), "/d")
	require.NoError(t, err)
	var headers []string
	for r := tar.NewReader(out); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		headers = append(headers, string(h.Typeflag)+h.Name+h.Linkname)
	}
	assert.Equal(t, []string{"5d/", "0d/a", "1d/bd/a"}, headers)
	require.NoError(t, b.Close(t.Context()))
}

// A sparse file has few bytes in the stream, and many when it is unpacked.
func TestSparseFile(t *testing.T) {
	needs.Tool(t, "tar", "tar")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/large", nil, 0o600))
	require.NoError(t, os.Truncate(dir+"/large", 1<<30+1))
	archive, err := exec.Command("tar", "-C", dir, "--sparse", "-cf", "-", "large").Output()
	require.NoError(t, err)
	require.Less(t, len(archive), 1<<20)
	c, err := memory.New(memory.Options{}).Create(t.Context(), container.Spec{})
	require.NoError(t, err)
	require.ErrorIs(t, c.StreamIn(t.Context(), "/d", "", bytes.NewReader(archive)), tarball.ErrLimit)
}

// Of several who append to a file that is not there yet, each has its part in it.
func TestAppendAtOnce(t *testing.T) {
	b := memory.New(memory.Options{})
	c, err := b.Create(t.Context(), container.Spec{})
	require.NoError(t, err)
	files := b.Container(c.Handle()).Files()
	for n := range 500 {
		name := fmt.Sprintf("/tmp/%d", n)
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() { assert.NoError(t, files.Append(name, []byte("x"))) })
		}
		writers.Wait()
		data, err := files.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, "xxxx", string(data))
	}
}

// What takes an instance minutes takes no time in a bubble, and is exact.
func TestInstanceInBubble(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		start, parts := newNode(dir, map[string]string{
			droplet.InfoName: "start_command: x\n", "droplet.yaml": "state_file: state.json\n", "app/x": "",
		})
		defer parts.Droplets.Close()
		backend := memory.New(memory.Options{Default: func(ctx context.Context, p *memory.Process) int {
			p.SetLoad(memory.Load{MemoryBytes: 32 << 20, Cores: 0.25})
			time.Sleep(2 * time.Minute)
			if err := p.Files().WriteFile("state.json", []byte(`{"state":"RUNNING"}`), 0o600); err != nil {
				return 1
			}
			<-ctx.Done()
			return 0
		}})
		parts.Backend = backend
		i, err := instance.New(start, instance.Config{SampleInterval: time.Minute}, parts)
		require.NoError(t, err)
		over := make(chan struct{})
		go func() { defer close(over); i.Run(t.Context()) }()

		time.Sleep(time.Minute)
		assert.Equal(t, messaging.Starting, i.Status().State)
		time.Sleep(time.Minute + time.Second)
		assert.Equal(t, messaging.Running, i.Status().State)
		assert.EqualValues(t, 32<<20, i.Status().Usage.MemoryBytes)
		time.Sleep(2 * time.Minute)
		assert.Equal(t, 0.25, i.Status().CPU)

		backend.Container(i.Status().Handle).OutOfMemory()
		<-over
		assert.Equal(t, messaging.Crashed, i.Status().State)
		assert.Equal(t, container.EventOutOfMemory, i.Status().ExitDescription)
		i.Release()
		left, err := backend.List(t.Context())
		require.NoError(t, err)
		assert.Empty(t, left)
	})
}
