package directory

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// running starts Run and returns the address, and a function that ends it and waits.
func running(t testing.TB, s *Server) (url string, end func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, l) }()
	return "http://" + l.Addr().String(), func() error {
		cancel()
		return <-ended
	}
}

func TestRun(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("log", "a")
	var end func() error
	f.url, end = running(t, f.server)

	resp, body := f.get("log")
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, "a", body)
	c := f.tail(t, "log", "&tail_offset=0")
	c.expect("a")

	require.NoError(t, end())
	_, err := c.rest()
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = http.Get(f.url)
	assert.Error(t, err)
}

func TestRunWithBrokenListener(t *testing.T) {
	f := newFixture(t, Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	assert.ErrorIs(t, f.server.Run(t.Context(), l), net.ErrClosed)
}

// A request with a body is refused at once, though the body is kept back: nothing of it is waited for, by the tail that it asks for
// or by the end of the server.
func TestBodyThatNeverComes(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("log", "a")
	var end func() error
	f.url, end = running(t, f.server)
	for _, header := range []string{"Content-Length: 10", "Transfer-Encoding: chunked", "Content-Length: 10\r\nExpect: 100-continue"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "GET %s&tail&tail_offset=0 HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", f.signed("log", "")[len(f.url):], header)
		require.NoError(t, err)
		answer, err := io.ReadAll(conn)
		require.NoError(t, err, "the connection is closed")
		assert.Regexp(t, `^HTTP/1\.1 400 Bad Request\r\n`, string(answer), header)
		assert.Contains(t, string(answer), "A request for files has no body\n")
		require.NoError(t, conn.Close())
	}
	resp, _ := f.do("GET", f.signed("log", ""), "Content-Length", "0")
	assert.Equal(t, 200, resp.StatusCode)
	require.NoError(t, end())
}
