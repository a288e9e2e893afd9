package garden_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/garden"
)

// TestServerIsStartedAnew loses all connections of a process, which lives on.
func TestServerIsStartedAnew(t *testing.T) {
	var attempts atomic.Int32
	gone := make(chan struct{})
	s := &script{answers: map[string]http.HandlerFunc{
		"POST /containers/h/processes": stream(201, func(conn net.Conn) {
			fmt.Fprintln(conn, `{"process_id":"1","stream_id":"17"}`)
			<-gone
		}),
		"GET /containers/h/processes/1/attaches/17/stdout": stream(200, func(conn net.Conn) { fmt.Fprint(conn, "one "); <-gone }),
		"GET /containers/h/processes/1": stream(200, func(conn net.Conn) {
			if attempts.Add(1) == 1 {
				return // it is only starting
			}
			fmt.Fprintln(conn, `{"process_id":"1","stream_id":"18"}`)
			fmt.Fprintln(conn, `{"process_id":"1","exit_status":4}`)
		}),
		"GET /containers/h/processes/1/attaches/18/stdout": stream(200, func(conn net.Conn) { fmt.Fprint(conn, "two") }),
	}}
	c, err := connect(t, s, garden.Options{}).Lookup(t.Context(), "h")
	require.NoError(t, err)
	out := &notifying{at: "one ", seen: make(chan struct{})}
	p, err := c.Run(t.Context(), container.ProcessSpec{Path: "true"}, container.IO{Stdout: out})
	require.NoError(t, err)
	<-out.seen
	close(gone)
	status, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 4, status)
	assert.Equal(t, "one two", out.String())
	assert.EqualValues(t, 1, p.ID())
}

// TestServerForgotTheProcess has it started anew without the process.
func TestServerForgotTheProcess(t *testing.T) {
	forever := make(chan struct{})
	defer close(forever)
	s := &script{answers: map[string]http.HandlerFunc{
		"POST /containers/h/processes": stream(201, func(conn net.Conn) {
			fmt.Fprintln(conn, `{"process_id":"1","stream_id":"17"}`)
		}),
		"GET /containers/h/processes/1/attaches/17/stderr": stream(200, func(net.Conn) { <-forever }),
		"GET /containers/h/processes/1":                    says(404, `{"Type":"ProcessNotFoundError","Message":"unknown process: 1"}`),
	}}
	c, err := connect(t, s, garden.Options{}).Lookup(t.Context(), "h")
	require.NoError(t, err)
	p, err := c.Run(t.Context(), container.ProcessSpec{Path: "true"}, container.IO{Stderr: io.Discard})
	require.NoError(t, err)
	status, err := p.Wait(t.Context())
	require.ErrorIs(t, err, container.ErrStatusUnknown)
	assert.EqualValues(t, -1, status)
}

// TestCloseWhileTheServerIsAway closes the back end while it tries to reach the server.
func TestCloseWhileTheServerIsAway(t *testing.T) {
	tried := make(chan struct{}, 100)
	s := &script{answers: map[string]http.HandlerFunc{
		"POST /containers/h/processes": stream(201, func(conn net.Conn) {
			fmt.Fprintln(conn, `{"process_id":"1","stream_id":"17"}`)
		}),
		"GET /containers/h/processes/1": stream(200, func(net.Conn) { tried <- struct{}{} }),
	}}
	b := connect(t, s, garden.Options{})
	c, err := b.Lookup(t.Context(), "h")
	require.NoError(t, err)
	p, err := c.Run(t.Context(), container.ProcessSpec{Path: "true"}, container.IO{Stdout: &bytes.Buffer{}})
	require.NoError(t, err)
	<-tried
	require.NoError(t, b.Close(t.Context()))
	_, err = p.Wait(t.Context())
	require.ErrorIs(t, err, garden.ErrClosed)
}

// TestRunIsCancelledAmidItsStreams has the server start the process, and then say nothing.
func TestRunIsCancelledAmidItsStreams(t *testing.T) {
	asked, forever, killed := make(chan struct{}), make(chan struct{}), make(chan string, 1)
	s := &script{answers: map[string]http.HandlerFunc{
		"POST /containers/h/processes": stream(201, func(conn net.Conn) {
			fmt.Fprintln(conn, `{"process_id":"1","stream_id":"17"}`)
			said, _ := io.ReadAll(conn)
			killed <- string(said)
		}),
		"GET /containers/h/processes/1/attaches/17/stdout": func(http.ResponseWriter, *http.Request) { close(asked); <-forever },
	}}
	c, err := connect(t, s, garden.Options{}).Lookup(t.Context(), "h")
	t.Cleanup(func() { close(forever) })
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ran := make(chan error, 1)
	go func() {
		_, err := c.Run(ctx, container.ProcessSpec{Path: "true"}, container.IO{Stdout: io.Discard})
		ran <- err
	}()
	<-asked
	cancel()
	require.ErrorIs(t, <-ran, context.Canceled)
	assert.JSONEq(t, `{"process_id":"1","signal":1}`, <-killed)
}
