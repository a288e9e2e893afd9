package heartbeat_test

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// A bus is a NATS server that is reached by pipes, so that its time and that of its clients is the bubble's.
type bus struct {
	t   *testing.T
	srv *server.Server
}

func newBus(t *testing.T) *bus {
	t.Helper()
	srv, err := server.NewServer(&server.Options{DontListen: true, NoLog: true, NoSigs: true})
	require.NoError(t, err)
	started := make(chan struct{})
	go func() { defer close(started); srv.Start() }()
	require.True(t, srv.ReadyForConnections(time.Minute))
	t.Cleanup(func() {
		<-started
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return &bus{t, srv}
}

// connect gives a connection that comes back for ever, and the link that it goes over.
func (b *bus) connect() (*nats.Conn, *link) {
	b.t.Helper()
	l := &link{srv: b.srv}
	conn, err := nats.Connect("", nats.InProcessServer(l), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1),
		nats.ReconnectWait(100*time.Millisecond), nats.ReconnectJitter(0, 0))
	require.NoError(b.t, err)
	b.t.Cleanup(conn.Close)
	return conn, l
}

// A link leads to a server, unless it is down.
type link struct {
	srv *server.Server

	mu   sync.Mutex
	down bool
	wire *wire
}

// InProcessConn implements nats.InProcessConnProvider.
func (l *link) InProcessConn() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errors.New("the link is down")
	}
	conn, err := l.srv.InProcessConn()
	l.wire = &wire{Conn: conn}
	return l.wire, err
}

// cut closes what is open, and keeps it so.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	_ = l.wire.Close()
}

func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// swallow lets nothing more through of what the server says, without anybody being told.
func (l *link) swallow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	l.wire.swallows = true
}

type wire struct {
	net.Conn
	mu       sync.Mutex
	swallows bool
}

func (w *wire) Read(p []byte) (int, error) {
	for {
		n, err := w.Conn.Read(p)
		w.mu.Lock()
		swallows := w.swallows
		w.mu.Unlock()
		if err != nil || !swallows {
			return n, err
		}
	}
}
