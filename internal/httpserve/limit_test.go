package httpserve_test

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/httpserve"
)

// A crowd of clients leaves descriptors for the other work of the process.
func TestConnectionsAreBounded(t *testing.T) {
	const descriptors, crowd = 300, 200
	var before unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	few := before
	few.Cur = descriptors
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
	defer func() { assert.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &before)) }()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	server := httpserve.New(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	go func() { ended <- httpserve.Run(ctx, server, l) }()
	defer func() { cancel(); assert.NoError(t, <-ended) }()
	answered := func(conn net.Conn) bool {
		_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
		_, err := http.ReadResponse(bufio.NewReader(conn), nil)
		return err == nil
	}
	var conns []net.Conn
	served := 0
	for range crowd {
		conn, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		conns = append(conns, conn)
		if answered(conn) {
			served++
		}
		// The limit is known when something was answered. The clients are in this process, too.
		require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &before))
	}
	assert.Equal(t, descriptors/2, served)
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		return answered(conn)
	}, 10*time.Second, 10*time.Millisecond)
}
