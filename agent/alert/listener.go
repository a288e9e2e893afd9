package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// maxSessions bounds the connections at a time: monit and the system log have one each.
const maxSessions = 16

// serve hands each connection of l to session, on a goroutine of its own, until ctx ends, and then closes l and all of them.
// It returns when every session has: nil after ctx has ended, or why no more can be accepted. Beyond maxSessions,
// connections are closed at once.
func serve(ctx context.Context, l net.Listener, log *slog.Logger, session func(context.Context, net.Conn)) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // what it has to say, Accept says
	defer stop()
	defer l.Close()
	var work sync.WaitGroup
	defer work.Wait()
	sessions, cancel := context.WithCancel(ctx)
	defer cancel()
	slots := make(chan struct{}, maxSessions)
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("listen for alerts on %s: %w", l.Addr(), err)
		case err != nil: // out of descriptors, for example: it passes
			log.Warn("alert.accept.failed", "address", l.Addr().String(), "error", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			log.Warn("alert.session.refused", "address", l.Addr().String(), "sessions", maxSessions)
			conn.Close()
			continue
		}
		work.Go(func() {
			defer func() { <-slots }()
			defer conn.Close()
			stop := context.AfterFunc(sessions, func() { _ = conn.Close() }) // ends what the session waits for
			defer stop()
			session(sessions, conn)
		})
	}
}

// listen opens a TCP listener.
func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for alerts: %w; another agent may run on this machine", err)
	}
	return l, nil
}
