package applog

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/certtest"
)

// A receiver is a syslog server for streams. It ends with the test.
type receiver struct {
	t        *testing.T
	listener net.Listener
	serving  sync.WaitGroup

	mu       sync.Mutex
	messages []parsed
	conns    map[net.Conn]struct{}
	accepted int
}

// receive starts a receiver at an address; with a config it speaks TLS.
func receive(t *testing.T, address string, secure *tls.Config) *receiver {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	r := &receiver{t: t, listener: listener, conns: map[net.Conn]struct{}{}}
	if secure != nil {
		r.listener = tls.NewListener(listener, secure)
	}
	r.serving.Go(r.accept)
	t.Cleanup(r.stop)
	return r
}

func (r *receiver) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.conns[conn] = struct{}{}
		r.accepted++
		r.mu.Unlock()
		r.serving.Go(func() { r.read(conn) })
	}
}

func (r *receiver) read(conn net.Conn) {
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		conn.Close()
		delete(r.conns, conn)
	}()
	in := bufio.NewReader(conn)
	for {
		frame, err := readFrame(in)
		if err != nil {
			return
		}
		assert.True(r.t, strings.HasSuffix(frame, "\n"))
		p, err := parse(strings.TrimSuffix(frame, "\n"))
		assert.NoError(r.t, err)
		r.mu.Lock()
		r.messages = append(r.messages, p)
		r.mu.Unlock()
	}
}

// hangUp ends all connections, which then wait for the other side to do the same.
func (r *receiver) hangUp() {
	r.each(func(conn net.Conn) error { return conn.(*net.TCPConn).CloseWrite() })
}

func (r *receiver) each(do func(net.Conn) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.conns {
		assert.NoError(r.t, do(conn))
	}
}

func (r *receiver) stop() {
	r.listener.Close()
	r.each(net.Conn.Close)
	r.serving.Wait()
}

func (r *receiver) address() string { return r.listener.Addr().String() }

func (r *receiver) texts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	texts := []string{}
	for _, m := range r.messages {
		texts = append(texts, m.text)
	}
	return texts
}

func (r *receiver) connections() (now, ever int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns), r.accepted
}

// testTLS returns what a server on 127.0.0.1 and its client need.
func testTLS(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	ca := certtest.NewAuthority(t, "ca")
	certificate, err := tls.LoadX509KeyPair(ca.Issue(t.TempDir(), "receiver"))
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{certificate}}, &tls.Config{RootCAs: ca.Pool()}
}

// run runs a Syslog until the end of the test, or until the function it returns is called.
func run(t *testing.T, r interface{ Run(context.Context) error }) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				assert.NoError(t, err)
			case <-time.After(20 * time.Second):
				t.Error("Run does not end")
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// newSyslog returns a Syslog with short pauses.
func newSyslog(t *testing.T, cfg SyslogConfig) *Syslog {
	t.Helper()
	if cfg.RetryWait == 0 {
		cfg.RetryWait, cfg.MaxRetryWait = 5*time.Millisecond, 20*time.Millisecond
	}
	s, err := NewSyslog(cfg)
	require.NoError(t, err)
	return s
}
