package warden_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container/containertest"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/warden"
	"github.com/deakit/deakit/container/warden/protocol"
)

func TestMain(m *testing.M) {
	containertest.Helper()
	goleak.VerifyTestMain(m)
}

// stopGrace is how long processes have to act on SIGTERM.
const stopGrace = 500 * time.Millisecond

// processes returns a back end of plain processes, which is closed with the test.
func processes(t testing.TB, opts process.Options) *process.Backend {
	t.Helper()
	opts.StopGrace, opts.WatchInterval = stopGrace, 50*time.Millisecond
	if opts.Depot == "" {
		opts.Depot = t.TempDir()
	}
	b, err := process.New(opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, b.Close(ctx))
	})
	return b
}

// A running server can be drained; it is when the test ends.
type running struct {
	socket string
	drain  context.CancelFunc
	ended  chan struct{}
}

// serve runs a server at a socket of its own.
func serve(t testing.TB, cfg warden.Config) *running {
	t.Helper()
	return serveAt(t, cfg, filepath.Join(socketDir(t), "warden.sock"))
}

func serveAt(t testing.TB, cfg warden.Config, socket string) *running {
	t.Helper()
	s, err := warden.NewServer(cfg)
	require.NoError(t, err)
	l, err := warden.Listen(socket, 0o600)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{socket: socket, drain: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		assert.NoError(t, s.Run(ctx, l))
	}()
	t.Cleanup(r.stop)
	return r
}

// stop drains and waits for the end.
func (r *running) stop() {
	r.drain()
	<-r.ended
}

// socketDir returns a directory with a name that is short enough for a socket.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "warden")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A peer speaks the protocol as any client does.
type peer struct {
	t    testing.TB
	conn net.Conn
	in   *protocol.Reader
}

func dial(t testing.TB, r *running) *peer {
	t.Helper()
	conn, err := net.Dial("unix", r.socket)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	return &peer{t, conn, protocol.NewReader(conn)}
}

func (p *peer) send(m proto.Message) {
	p.t.Helper()
	require.NoError(p.t, protocol.Write(p.conn, m))
}

func (p *peer) receive() proto.Message {
	p.t.Helper()
	m, err := p.in.Response()
	require.NoError(p.t, err)
	return m
}

// ask sends a request and returns its answer, which must be of type R.
func ask[R proto.Message](p *peer, request proto.Message) R {
	p.t.Helper()
	p.send(request)
	return got[R](p)
}

func got[R proto.Message](p *peer) R {
	p.t.Helper()
	m := p.receive()
	r, ok := m.(R)
	require.True(p.t, ok, "the answer is %T: %v", m, m)
	return r
}

// refused sends a request and returns the text of the error that must come.
func (p *peer) refused(request proto.Message) string {
	p.t.Helper()
	return ask[*protocol.ErrorResponse](p, request).GetMessage()
}

// create makes a container and returns its handle.
func (p *peer) create() *string {
	p.t.Helper()
	return ask[*protocol.CreateResponse](p, &protocol.CreateRequest{}).Handle
}

func (p *peer) run(handle *string, script string) *protocol.RunResponse {
	p.t.Helper()
	return ask[*protocol.RunResponse](p, &protocol.RunRequest{Handle: handle, Script: &script})
}

func (p *peer) spawn(handle *string, script string) *uint32 {
	p.t.Helper()
	return ask[*protocol.SpawnResponse](p, &protocol.SpawnRequest{Handle: handle, Script: &script}).JobId
}

func (p *peer) info(handle *string) *protocol.InfoResponse {
	p.t.Helper()
	return ask[*protocol.InfoResponse](p, &protocol.InfoRequest{Handle: handle})
}

// closed waits until the server has closed the connection.
func (p *peer) closed() {
	p.t.Helper()
	m, err := p.in.Response()
	require.Error(p.t, err, "there came %v", m)
}

// start runs a server over plain processes and connects to it.
func start(t testing.TB, cfg warden.Config) *peer {
	t.Helper()
	if cfg.Backend == nil {
		cfg.Backend = processes(t, process.Options{})
	}
	return dial(t, serve(t, cfg))
}

// A pipeListener accepts the ends of pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	close  sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

// pipes runs a server to which the returned function connects by pipes, without buffers.
func pipes(t testing.TB, cfg warden.Config) (*peer, func() *peer) {
	t.Helper()
	s, err := warden.NewServer(cfg)
	require.NoError(t, err)
	return pipesTo(t, s)
}

func pipesTo(t testing.TB, s *warden.Server) (*peer, func() *peer) {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		assert.NoError(t, s.Run(ctx, l))
	}()
	t.Cleanup(func() { cancel(); <-ended })
	dial := func() *peer {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close() })
		l.conns <- theirs
		require.NoError(t, ours.SetDeadline(time.Now().Add(30*time.Second)))
		return &peer{t, ours, protocol.NewReader(ours)}
	}
	return dial(), dial
}

func ownerOf(t testing.TB, name string) (uid, gid uint32) {
	t.Helper()
	info, err := os.Lstat(name)
	require.NoError(t, err)
	st := info.Sys().(*syscall.Stat_t)
	return st.Uid, st.Gid
}
