// Package httpserve runs an HTTP server for as long as a context lasts.
package httpserve

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
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
// It speaks HTTP/1 only: under HTTP/2 a handler may outlive its connection, and nobody could wait for it.
func Run(ctx context.Context, server *http.Server, l net.Listener) error {
	defer l.Close() // where the server has not come so far
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	var conns sync.WaitGroup
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			conns.Add(1)
		case http.StateClosed, http.StateHijacked:
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
