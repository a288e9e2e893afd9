package directory

import (
	"context"
	"fmt"
	"net"

	"github.com/deakit/deakit/internal/httpserve"
)

// Run serves the listener until ctx ends, and then ends: tails at once, other requests within five seconds. It closes the
// listener and the Server, and returns when all connections are gone: nil after ctx ended, or why it could not go on.
//
// It speaks HTTP/1 only, because the end of a tail is told by the connection, and waits ten seconds for a request header. It
// is for those who have no http.Server of their own to put the Server into.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	// Its times are for small answers and for bodies that nobody wants; large answers and tails have times of their own.
	server := httpserve.New(s, s.log)
	server.ConnContext = ConnContext
	// Beside the shutdown, which cuts off at last who holds up the end of a tail.
	server.RegisterOnShutdown(s.Close)
	err := httpserve.Run(ctx, server, l)
	s.Close()
	if err != nil {
		return fmt.Errorf("directory server: %w", err)
	}
	return nil
}
