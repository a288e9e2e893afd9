package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// shutdownGrace is how long requests may go on after Run was told to end.
const shutdownGrace = 5 * time.Second

// Run serves the listener until ctx ends, and then ends: tails at once, other requests within five seconds. It closes the
// listener and the Server, and returns when all connections are gone: nil after ctx ended, or why it could not go on.
//
// It speaks HTTP/1 only, because the end of a tail is told by the connection, and waits ten seconds for a request header. It
// is for those who have no http.Server of their own to put the Server into.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	var (
		protocols http.Protocols
		conns     sync.WaitGroup
	)
	protocols.SetHTTP1(true)
	server := &http.Server{
		Handler:           s,
		Protocols:         &protocols,
		ConnContext:       ConnContext,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second, // of a body that nobody wants; net/http takes it back when there is none
		WriteTimeout:      time.Minute,      // of small answers; large ones and tails have times of their own
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				conns.Done()
			}
		},
	}
	// Beside the shutdown, which cuts off at last who holds up the end of a tail.
	server.RegisterOnShutdown(s.Close)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	var err error
	select {
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close()
		}
		err = <-served
	case err = <-served:
		_ = server.Close()
	}
	s.Close()
	conns.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("directory server: %w", err)
}
