package blobstore_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/blobstore"
)

// TestServerThatStalls in the middle of a blob, one way or the other, does not hold up a machine for an hour.
func TestServerThatStalls(t *testing.T) {
	for name, test := range map[string]struct {
		serve func(net.Conn)
		use   func(context.Context, blobstore.Store) error
	}{
		"fetch": {
			serve: func(c net.Conn) {
				_, _ = http.ReadRequest(bufio.NewReader(c))
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe beginning")
			},
			use: func(ctx context.Context, s blobstore.Store) error { return s.Get(ctx, "id", io.Discard) },
		},
		"create": {
			serve: func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 5000)) },
			use: func(ctx context.Context, s blobstore.Store) error {
				return s.Put(ctx, "id", strings.NewReader(strings.Repeat("x", 1<<20)))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := storeOver(t, test.serve)
				began := time.Now()
				err := test.use(t.Context(), store)
				require.ErrorIs(t, err, blobstore.ErrStalled)
				assert.Less(t, time.Since(began), time.Hour, "of the clock of this test")
			})
		})
	}
	t.Run("one that is slow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := storeOver(t, func(c net.Conn) {
				_, _ = http.ReadRequest(bufio.NewReader(c))
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
				for range 5 {
					time.Sleep(9 * time.Minute)
					_, _ = io.WriteString(c, "x")
				}
			})
			var got strings.Builder
			require.NoError(t, store.Get(t.Context(), "id", &got))
			assert.Equal(t, "xxxxx", got.String())
		})
	})
}

// storeOver is a store whose server does something with a connection, and then nothing until it is closed.
func storeOver(t *testing.T, serve func(net.Conn)) blobstore.Store {
	client, err := blobstore.NewHTTPClient(blobstore.HTTPOptions{})
	require.NoError(t, err)
	transport := client.Transport.(*http.Transport)
	transport.Proxy = nil
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			serve(there)
			<-t.Context().Done()
		}()
		return here, nil
	}
	t.Cleanup(transport.CloseIdleConnections)
	store, err := blobstore.NewDAV(blobstore.DAVConfig{Endpoint: "http://blobs", HTTP: client})
	require.NoError(t, err)
	return store
}
