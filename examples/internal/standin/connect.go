package standin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deakit/deakit/messaging"
)

// ErrNoServer: no NATS server answers.
var ErrNoServer = errors.New("no NATS server answers; start one, or name it with --nats")

// Connect returns a connection to the NATS server at a URL, once there is one. When ctx ends before, the error is ErrNoServer and
// the cause of that. The caller closes the connection, which is called name.
func Connect(ctx context.Context, url, name string) (*nats.Conn, error) {
	conn, err := messaging.Connect(messaging.Config{Servers: []string{url}, Name: name, ReconnectWait: 100 * time.Millisecond})
	if err != nil {
		return nil, fmt.Errorf("--nats: %w", err)
	}
	connected := conn.StatusChanged(nats.CONNECTED)
	defer conn.RemoveStatusListener(connected)
	for !conn.IsConnected() {
		select {
		case <-connected:
		case <-ctx.Done():
			conn.Close()
			return nil, fmt.Errorf("%w: %w", ErrNoServer, context.Cause(ctx))
		}
	}
	return conn, nil
}
