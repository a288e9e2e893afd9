package warden_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/warden"
	"github.com/deakit/deakit/container/warden/protocol"
)

const notActive = "Container state must be one of 'active', current state is 'stopped'"

func TestStopped(t *testing.T) {
	p := start(t, warden.Config{})
	handle, dir := p.create(), t.TempDir()
	p.run(handle, "echo kept >file")
	for range 2 {
		ask[*protocol.StopResponse](p, &protocol.StopRequest{Handle: handle})
	}
	text := proto.String("true")
	for _, request := range []proto.Message{
		&protocol.SpawnRequest{Handle: handle, Script: text}, &protocol.RunRequest{Handle: handle, Script: text},
		&protocol.NetInRequest{Handle: handle}, &protocol.NetOutRequest{Handle: handle, Network: proto.String("10.0.0.1")},
		&protocol.CopyInRequest{Handle: handle, SrcPath: proto.String(dir + "/"), DstPath: proto.String("/tmp/x")},
	} {
		assert.Equal(t, notActive, p.refused(request), "%T", request)
	}
	assert.Equal(t, "stopped", p.info(handle).GetState())
	ask[*protocol.LimitMemoryResponse](p, &protocol.LimitMemoryRequest{Handle: handle, LimitInBytes: proto.Uint64(1 << 20)})
	ask[*protocol.CopyOutResponse](p, &protocol.CopyOutRequest{
		Handle: handle, SrcPath: proto.String("/home/vcap/file"), DstPath: proto.String(dir),
	})
	assert.FileExists(t, filepath.Join(dir, "file"))
	ask[*protocol.DestroyResponse](p, &protocol.DestroyRequest{Handle: handle})
	assert.Equal(t, "unknown handle", p.refused(&protocol.DestroyRequest{Handle: handle}))
	assert.Empty(t, ask[*protocol.ListResponse](p, &protocol.ListRequest{}).GetHandles())
}

// ready starts a job that does something at TERM, and returns when it would.
func (p *peer) ready(handle *string, reaction string) *uint32 {
	p.t.Helper()
	file := filepath.Join(p.info(handle).GetContainerPath(), "rootfs/home/vcap/ready")
	job := p.spawn(handle, "trap '"+reaction+"' TERM; touch ready; while :; do sleep 0.02 || :; done")
	require.Eventually(p.t, func() bool { _, err := os.Stat(file); return err == nil }, 20*time.Second, time.Millisecond)
	require.NoError(p.t, os.Remove(file))
	return job
}

func TestStop(t *testing.T) {
	p := start(t, warden.Config{})
	for name, tc := range map[string]struct {
		reaction string
		kill     bool
		status   uint32
	}{
		"obeyed":  {"exit 7", false, 7},
		"ignored": {"", false, 137},
		"killed":  {"exit 7", true, 137},
	} {
		handle := p.create()
		job := p.ready(handle, tc.reaction)
		ask[*protocol.StopResponse](p, &protocol.StopRequest{Handle: handle, Kill: &tc.kill})
		assert.Empty(t, p.info(handle).GetJobIds(), name)
		r := ask[*protocol.LinkResponse](p, &protocol.LinkRequest{Handle: handle, JobId: job})
		assert.Equal(t, tc.status, r.GetExitStatus(), name)
		assert.Equal(t, "stopped", r.GetInfo().GetState(), name)
	}
}

func TestStopInBackground(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	job := p.ready(handle, "")
	ask[*protocol.StopResponse](p, &protocol.StopRequest{Handle: handle, Background: proto.Bool(true)})
	assert.EqualValues(t, 137, ask[*protocol.LinkResponse](p, &protocol.LinkRequest{Handle: handle, JobId: job}).GetExitStatus())
	assert.Equal(t, "stopped", p.info(handle).GetState())
}

// TestWhileStopping looks at a container amid a Stop on another connection.
func TestWhileStopping(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	job := p.ready(handle, "")
	other := dial2(t, p)
	other.send(&protocol.StopRequest{Handle: handle})
	require.Eventually(t, func() bool { return p.info(handle).GetState() == "stopped" }, 20*time.Second, time.Millisecond)
	assert.Equal(t, notActive, p.refused(&protocol.SpawnRequest{Handle: handle, Script: proto.String("true")}))
	ask[*protocol.StopResponse](p, &protocol.StopRequest{Handle: handle})
	assert.Equal(t, []uint64{uint64(*job)}, p.info(handle).GetJobIds(), "the second Stop does not wait")
	ask[*protocol.DestroyResponse](p, &protocol.DestroyRequest{Handle: handle})
	got[*protocol.StopResponse](other)
}

func TestDestroyAnswersLinks(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	dir := p.info(handle).GetContainerPath()
	job := p.ready(handle, "exit 3")
	other := dial2(t, p)
	other.send(&protocol.StreamRequest{Handle: handle, JobId: job})
	other.send(&protocol.PingRequest{})
	ask[*protocol.PingResponse](p, &protocol.PingRequest{})
	ask[*protocol.DestroyResponse](p, &protocol.DestroyRequest{Handle: handle})
	assert.NoDirExists(t, dir)
	_, last := streamed(other)
	assert.EqualValues(t, 3, last.GetExitStatus(), "it was stopped gracefully")
	assert.Equal(t, "stopped", last.GetInfo().GetState())
	assert.Equal(t, dir, last.GetInfo().GetContainerPath())
	got[*protocol.PingResponse](other)
}

func TestOutOfMemory(t *testing.T) {
	p := start(t, warden.Config{})
	handle := p.create()
	limit := &protocol.LimitMemoryRequest{Handle: handle, LimitInBytes: proto.Uint64(30<<20 - 1)}
	assert.EqualValues(t, 30<<20, ask[*protocol.LimitMemoryResponse](p, limit).GetLimitInBytes())
	r := p.run(handle, "head -c 200000000 /dev/zero | tail -c 100000000 | sleep 1000")
	assert.NotZero(t, r.GetExitStatus())
	assert.Equal(t, []string{container.EventOutOfMemory}, r.GetInfo().GetEvents())
	assert.Equal(t, "stopped", r.GetInfo().GetState())
}

func handlesOf(t testing.TB, b container.Backend) []string {
	t.Helper()
	handles, err := b.List(context.Background())
	require.NoError(t, err)
	return handles
}

func TestGraceTime(t *testing.T) {
	b := processes(t, process.Options{})
	r := serve(t, warden.Config{Backend: b, GraceTime: -1})
	create := func(p *peer, handle string, seconds uint32) {
		ask[*protocol.CreateResponse](p, &protocol.CreateRequest{Handle: &handle, GraceTime: &seconds})
	}
	p := dial(t, r)
	ask[*protocol.CreateResponse](p, &protocol.CreateRequest{Handle: proto.String("for-ever")})
	create(p, "watched", 0)
	create(p, "alone", 0)
	watcher := dial(t, r)
	ask[*protocol.PingResponse](watcher, &protocol.PingRequest{})
	require.NoError(t, p.conn.Close())

	// The watcher refers to all that was there when it came. What comes later it does not refer to, unless it names it.
	late := dial(t, r)
	create(late, "late", 0)
	create(late, "named", 0)
	watcher.info(proto.String("named"))
	require.NoError(t, late.conn.Close())
	require.Eventually(t, func() bool { return len(handlesOf(t, b)) == 4 }, 20*time.Second, time.Millisecond)
	assert.ElementsMatch(t, []string{"for-ever", "watched", "alone", "named"}, handlesOf(t, b))

	require.NoError(t, watcher.conn.Close())
	require.Eventually(t, func() bool { return len(handlesOf(t, b)) == 1 }, 20*time.Second, time.Millisecond)
	assert.Equal(t, []string{"for-ever"}, handlesOf(t, b))
}

func TestGraceTimeIsCancelled(t *testing.T) {
	b := processes(t, process.Options{})
	r := serve(t, warden.Config{Backend: b})
	p := dial(t, r)
	ask[*protocol.CreateResponse](p, &protocol.CreateRequest{Handle: proto.String("mine"), GraceTime: proto.Uint32(1)})
	require.NoError(t, p.conn.Close())
	again := dial(t, r)
	ask[*protocol.PingResponse](again, &protocol.PingRequest{})
	// Longer than the grace time, and no shorter than the container could live without this connection.
	again.run(proto.String("mine"), "sleep 1.5")
	assert.Equal(t, []string{"mine"}, handlesOf(t, b))
	require.NoError(t, again.conn.Close())
	require.Eventually(t, func() bool { return len(handlesOf(t, b)) == 0 }, 20*time.Second, 10*time.Millisecond)
}

func TestDrain(t *testing.T) {
	b := processes(t, process.Options{})
	r := serve(t, warden.Config{Backend: b})
	p := dial(t, r)
	handle := p.create()
	job := p.ready(handle, "")
	idle, linking, streaming, running, stopping := dial(t, r), dial(t, r), dial(t, r), dial(t, r), dial(t, r)
	ask[*protocol.PingResponse](idle, &protocol.PingRequest{})
	linking.send(&protocol.LinkRequest{Handle: handle, JobId: job})
	streaming.send(&protocol.StreamRequest{Handle: handle, JobId: job})
	running.send(&protocol.RunRequest{Handle: handle, Script: proto.String("touch begun; sleep 1000")})
	begun := filepath.Join(p.info(handle).GetContainerPath(), "rootfs/home/vcap/begun")
	require.Eventually(t, func() bool { _, err := os.Stat(begun); return err == nil }, 20*time.Second, time.Millisecond)

	other := p.create()
	p.ready(other, "")
	stopping.send(&protocol.StopRequest{Handle: other})
	require.Eventually(t, func() bool { return p.info(other).GetState() == "stopped" }, 20*time.Second, time.Millisecond)
	r.drain()
	for _, gone := range []*peer{p, idle, linking, streaming, running} {
		gone.closed()
	}
	got[*protocol.StopResponse](stopping)
	stopping.closed()
	<-r.ended
	assert.NoFileExists(t, r.socket)

	assert.Len(t, handlesOf(t, b), 2, "containers live on")
	c, err := b.Lookup(t.Context(), *handle)
	require.NoError(t, err)
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	assert.Len(t, info.Processes, 2)
}

// TestDrainHasAnEnd lets a client be in the way that reads nothing.
func TestDrainHasAnEnd(t *testing.T) {
	r := serve(t, warden.Config{Backend: processes(t, process.Options{}), DrainTime: 100 * time.Millisecond})
	p := dial(t, r)
	handle := p.create()
	p.send(&protocol.StreamRequest{Handle: handle, JobId: p.spawn(handle, "head -c 9000000 /dev/zero; sleep 1000")})
	got[*protocol.StreamResponse](p)
	deaf := dial(t, r)
	echo := proto.String(strings.Repeat("x", 4<<20))
	deaf.send(&protocol.EchoRequest{Message: echo})
	p.info2(handle)
	r.stop()
}

// info2 asks on a connection of its own.
func (p *peer) info2(handle *string) { dial2(p.t, p).info(handle) }

func TestServerIsRestarted(t *testing.T) {
	b := processes(t, process.Options{})
	cfg := warden.Config{Backend: b, StateDir: filepath.Join(t.TempDir(), "made", "here")}
	r := serve(t, cfg)
	p := dial(t, r)
	p.create()
	handle := ask[*protocol.CreateResponse](p, &protocol.CreateRequest{GraceTime: proto.Uint32(1)}).Handle
	ended := p.spawn(handle, "exit 4")
	require.Eventually(t, func() bool { return len(p.info(handle).GetJobIds()) == 0 }, 20*time.Second, time.Millisecond)
	told := p.spawn(handle, "exit 1")
	ask[*protocol.LinkResponse](p, &protocol.LinkRequest{Handle: handle, JobId: told})
	p.run(handle, "true")
	file := filepath.Join(p.info(handle).GetContainerPath(), "rootfs/home/vcap/go")
	going := p.spawn(handle, "while [ ! -e go ]; do sleep 0.01; done; echo later; exit 5")
	// Nobody refers to it when the server has gone: its time begins with the next one.
	r.stop()
	assert.Len(t, handlesOf(t, b), 2)

	state := readDir(t, cfg.StateDir)
	assert.Len(t, state, 2)
	require.NoError(t, os.WriteFile(filepath.Join(cfg.StateDir, "forgotten.warden.json"), []byte("{}"), 0o600))
	l, err := warden.NewServer(cfg)
	require.NoError(t, err)
	next, dial := pipesTo(t, l)
	assert.Equal(t, []uint64{uint64(*going)}, next.info(handle).GetJobIds())
	assert.Equal(t, "no such job", next.refused(&protocol.LinkRequest{Handle: handle, JobId: told}))
	assert.EqualValues(t, 4, ask[*protocol.LinkResponse](next, &protocol.LinkRequest{Handle: handle, JobId: ended}).GetExitStatus())
	assert.Greater(t, *next.spawn(handle, "true"), *going)
	other := dial()
	other.send(&protocol.LinkRequest{Handle: handle, JobId: going})
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	last := got[*protocol.LinkResponse](other)
	assert.EqualValues(t, 5, last.GetExitStatus())
	assert.Equal(t, "later\n", last.GetStdout(), "output goes on")

	require.NoError(t, next.conn.Close())
	require.NoError(t, other.conn.Close())
	require.Eventually(t, func() bool { return len(handlesOf(t, b)) == 1 }, 20*time.Second, time.Millisecond, "the grace time was remembered")
	require.Eventually(t, func() bool { return len(readDir(t, cfg.StateDir)) == 1 }, 20*time.Second, time.Millisecond)
}

func readDir(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestDamagedState(t *testing.T) {
	b := processes(t, process.Options{})
	dir := t.TempDir()
	for n, content := range []string{"{", `{"jobs":{"9":{"process":77}}}`, `{"jobs":{"x":1}}`, ""} {
		handle := fmt.Sprint("h", n)
		_, err := b.Create(t.Context(), container.Spec{Handle: handle})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, handle+".warden.json"), []byte(content), 0o600))
	}
	p := start(t, warden.Config{Backend: b, StateDir: dir})
	assert.Len(t, ask[*protocol.ListResponse](p, &protocol.ListRequest{}).GetHandles(), 4)
	for n := range 4 {
		handle := proto.String(fmt.Sprint("h", n))
		assert.Empty(t, p.info(handle).GetJobIds())
		assert.Zero(t, p.run(handle, "true").GetExitStatus())
	}
}
