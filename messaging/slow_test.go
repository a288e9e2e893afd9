package messaging_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/messaging"
)

// stalled is a server that greets whoever comes, and then reads nothing any more.
func stalled(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			_, _ = io.WriteString(conn, `INFO {"server_id":"s","version":"2.10.0","max_payload":1048576,"proto":1}`+"\r\n")
			lines := bufio.NewReader(conn)
			for line := ""; !strings.HasPrefix(line, "PING"); {
				if line, err = lines.ReadString('\n'); err != nil {
					return
				}
			}
			_, _ = io.WriteString(conn, "PONG\r\n")
		}
	}()
	return l.Addr().String()
}

// A server that is there but reads nothing holds up neither those who publish nor the end, and what it did not take counts as
// not sent.
func TestServerThatReadsNothing(t *testing.T) {
	conn, err := messaging.Connect(messaging.Config{Servers: []string{"nats://" + stalled(t)}, WriteTimeout: 50 * time.Millisecond})
	require.NoError(t, err)
	soon(t, "connected", conn.IsConnected)
	ended := make(chan error, 1)
	go func() {
		payload := make([]byte, 1<<20)
		var err error
		for err == nil {
			err = messaging.PublishRaw(conn, "x", payload)
		}
		conn.Close()
		ended <- err
	}()
	select {
	case err := <-ended:
		assert.ErrorIs(t, err, messaging.ErrDisconnected)
	case <-time.After(patience):
		t.Error("publishing waits for the server")
		<-ended
	}
}
