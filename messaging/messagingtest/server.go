// Package messagingtest runs a real NATS server inside a test.
package messagingtest

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

// A Server is a NATS server on a port of the loopback interface. It ends with the test.
type Server struct {
	t    testing.TB
	opts server.Options
	srv  *server.Server
}

// NewServer starts a server on a free port. Each of configure may change its options first.
func NewServer(t testing.TB, configure ...func(*server.Options)) *Server {
	t.Helper()
	s := &Server{t: t, opts: server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true}}
	for _, c := range configure {
		c(&s.opts)
	}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start starts the server again after Stop, on the same port. A child that another goroutine starts holds a copy of the old
// socket until its exec, so the port may be taken for a moment.
func (s *Server) Start() {
	s.t.Helper()
	for patience := 200 * time.Millisecond; patience < time.Minute; patience *= 2 {
		if s.start(patience) {
			return
		}
	}
	s.t.Fatal("NATS server is not ready after a minute")
}

func (s *Server) start(patience time.Duration) bool {
	s.t.Helper()
	opts := s.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		s.t.Fatalf("NATS server: %v", err)
	}
	started := make(chan struct{})
	go func() { defer close(started); srv.Start() }()
	if !srv.ReadyForConnections(patience) {
		srv.Shutdown()
		<-started
		return false
	}
	s.opts.Port = srv.Addr().(*net.TCPAddr).Port
	s.srv = srv
	return true
}

// Stop ends the server and cuts all connections. It may be called twice.
func (s *Server) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// URL of the server; the same after Stop and Start.
func (s *Server) URL() string {
	return fmt.Sprintf("nats://%s", net.JoinHostPort(s.opts.Host, strconv.Itoa(s.opts.Port)))
}

// Connect returns a connection with quick reconnection, closed with the test.
func (s *Server) Connect() *nats.Conn {
	s.t.Helper()
	conn, err := messaging.Connect(messaging.Config{Servers: []string{s.URL()}, ReconnectWait: 20 * time.Millisecond})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(conn.Close)
	return conn
}
