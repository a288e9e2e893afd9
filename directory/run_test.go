package directory

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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

// holds reports whether this process has a file of that base name open.
func holds(name string) bool {
	handles, _ := filepath.Glob("/proc/self/fd/*")
	return slices.ContainsFunc(handles, func(handle string) bool {
		target, _ := os.Readlink(handle)
		return filepath.Base(target) == name
	})
}

// TestBodyThatNeverComes: a client that announces a body and keeps it back holds up neither a tail nor the end of the server.
func TestBodyThatNeverComes(t *testing.T) {
	f := newFixture(t, Config{})
	f.write("log", "a")
	var end func() error
	f.url, end = running(t, f.server)
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET %s&tail&tail_offset=0 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", f.signed("log", ""))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return holds("log") }, time.Minute, time.Millisecond)
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		t.Fatal("the server waits for the body")
	}
}
