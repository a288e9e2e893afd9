// Package httpserve runs an HTTP server for as long as a context lasts.
package httpserve

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// grace is how long requests may go on after the context has ended.
const grace = 5 * time.Second

// New returns a server with limits that suit requests which are short: ten seconds for the header, thirty for the whole
// request, a minute for the answer. What the server has to complain of goes to log.
func New(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// Run serves l until ctx ends; requests then have five seconds to end. It closes l, and returns when all connections are
// gone: nil after ctx has ended, or why it could not go on. A server with a TLSConfig speaks TLS. The server is used up.
// Connections may have half of the descriptors that this process may open; what comes then is closed at once, so that a
// crowd of clients does not end the other work of the process. It speaks HTTP/1 only: under HTTP/2 a handler may outlive its
// connection, and nobody could wait for it.
func Run(ctx context.Context, server *http.Server, l net.Listener) error {
	defer l.Close() // where the server has not come so far
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	var conns sync.WaitGroup
	var open atomic.Int64
	limit := descriptors() / 2
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			conns.Add(1)
			if open.Add(1) > limit {
				conn.Close()
			}
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
			conns.Done()
		}
	}
	served := make(chan error, 1)
	go func() {
		if server.TLSConfig != nil {
			served <- server.ServeTLS(l, "", "")
		} else {
			served <- server.Serve(l)
		}
	}()

	var err error
	select {
	case <-ctx.Done():
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if server.Shutdown(ending) != nil {
			_ = server.Close() // what it says is about connections that are cut off anyway
		}
		err = <-served
	case err = <-served:
		_ = server.Close()
	}
	conns.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// descriptors is how many this process may have open.
func descriptors() int64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(limit.Cur)
}
