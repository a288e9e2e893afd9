package warden_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/memory"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/warden"
	"github.com/deakit/deakit/container/warden/protocol"
)

// A client that vanishes while it waits for a job refers to its container no more, whatever it asked for meanwhile.
func TestClientVanishesWithRequestsWaiting(t *testing.T) {
	r := serve(t, warden.Config{Backend: processes(t, process.Options{})})
	p := dial(t, r)
	handle := ask[*protocol.CreateResponse](p, &protocol.CreateRequest{GraceTime: proto.Uint32(0)}).Handle
	job := p.spawn(handle, "sleep 1000")
	p.send(&protocol.LinkRequest{Handle: handle, JobId: job})
	for range 3 {
		p.send(&protocol.PingRequest{})
	}
	require.NoError(t, p.conn.Close())
	require.Eventually(t, func() bool {
		other := dial(t, r)
		defer other.conn.Close()
		return len(ask[*protocol.ListResponse](other, &protocol.ListRequest{}).GetHandles()) == 0
	}, 20*time.Second, 50*time.Millisecond)
}

// Who has said all and still listens gets the answers.
func TestHalfClosedConnection(t *testing.T) {
	p := start(t, warden.Config{})
	p.send(&protocol.CreateRequest{})
	p.send(&protocol.PingRequest{})
	p.send(&protocol.ListRequest{})
	require.NoError(t, p.conn.(*net.UnixConn).CloseWrite())
	got[*protocol.CreateResponse](p)
	got[*protocol.PingResponse](p)
	assert.Len(t, got[*protocol.ListResponse](p).GetHandles(), 1)
	p.closed()
}

// slowEnd is a back end whose containers are gone before Destroy returns.
type slowEnd struct {
	container.Backend
	gate *memory.Gate
}

func (b slowEnd) Create(ctx context.Context, spec container.Spec) (container.Container, error) {
	c, err := b.Backend.Create(ctx, spec)
	return slowBox{c, b.gate}, err
}

type slowBox struct {
	container.Container
	gate *memory.Gate
}

func (c slowBox) Destroy(ctx context.Context) error {
	return errors.Join(c.Container.Destroy(ctx), c.gate.Hold(ctx, ""))
}

// What Destroy still has to do for a container is not done to the next one of its name.
func TestHandleIsTakenUntilDestroyIsDone(t *testing.T) {
	b, dir := slowEnd{memory.New(memory.Options{}), memory.NewGate()}, t.TempDir()
	r := serve(t, warden.Config{Backend: b, StateDir: dir})
	p, other := dial(t, r), dial(t, r)
	name := proto.String("name")
	ask[*protocol.CreateResponse](p, &protocol.CreateRequest{Handle: name})
	p.send(&protocol.DestroyRequest{Handle: name})
	<-b.gate.Reached()
	assert.Equal(t, "container with handle: name already exists.", other.refused(&protocol.CreateRequest{Handle: name}))
	b.gate.Release(nil)
	got[*protocol.DestroyResponse](p)
	ask[*protocol.CreateResponse](other, &protocol.CreateRequest{Handle: name})
	assert.Equal(t, "active", p.info(name).GetState())
	assert.FileExists(t, filepath.Join(dir, "name.warden.json"))

	// A handle that could not be used is free again.
	assert.Contains(t, other.refused(&protocol.CreateRequest{Handle: proto.String("no name")}), "invalid request")
	assert.Contains(t, other.refused(&protocol.CreateRequest{Handle: proto.String("no name")}), "invalid request")
}

// remembering is a back end that knows its containers weakly.
type remembering struct {
	container.Backend
	made chan weak.Pointer[remembered]
}

type remembered struct{ container.Container }

func (b remembering) Create(ctx context.Context, spec container.Spec) (container.Container, error) {
	c, err := b.Backend.Create(ctx, spec)
	box := &remembered{c}
	b.made <- weak.Make(box)
	return box, err
}

// A connection that lives for long keeps nothing of containers that are destroyed.
func TestDestroyedContainersAreForgotten(t *testing.T) {
	b := remembering{memory.New(memory.Options{}), make(chan weak.Pointer[remembered], 1)}
	p := start(t, warden.Config{Backend: b})
	handle := p.create()
	ask[*protocol.DestroyResponse](p, &protocol.DestroyRequest{Handle: handle})
	made := <-b.made
	require.Eventually(t, func() bool {
		ask[*protocol.PingResponse](p, &protocol.PingRequest{}) // the session is done with what came before
		runtime.GC()
		return made.Value() == nil
	}, 10*time.Second, 10*time.Millisecond)
}

// A container that could not be destroyed when its grace time was over is destroyed later.
func TestGraceTimeTriesAgain(t *testing.T) {
	b := memory.New(memory.Options{})
	r := serve(t, warden.Config{Backend: b})
	b.Next(memory.Destroy, memory.Fail(errors.New("device or resource busy")))
	p := dial(t, r)
	ask[*protocol.CreateResponse](p, &protocol.CreateRequest{Handle: proto.String("busy"), GraceTime: proto.Uint32(0)})
	require.NoError(t, p.conn.Close())
	require.Eventually(t, func() bool { return b.Container("busy") == nil }, 10*time.Second, 10*time.Millisecond)
}

// Destroy gives processes time to end, also where the container cannot be measured.
func TestDestroyIsGentle(t *testing.T) {
	ready, ended := make(chan struct{}), make(chan struct{})
	b := memory.New(memory.Options{Default: func(ctx context.Context, p *memory.Process) int {
		term := p.Trap(syscall.SIGTERM)
		close(ready)
		select {
		case <-term:
			close(ended)
		case <-ctx.Done():
		}
		return 0
	}})
	p := start(t, warden.Config{Backend: b})
	handle := p.create()
	p.spawn(handle, "")
	<-ready
	b.Next(memory.Usage, memory.Fail(os.ErrPermission))
	ask[*protocol.DestroyResponse](p, &protocol.DestroyRequest{Handle: handle})
	select {
	case <-ended:
	default:
		t.Fatal("killed without SIGTERM")
	}
}
