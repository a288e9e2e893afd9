package runc_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc"
)

// TestAbstractSockets lets a container that shares the network of the host look for sockets of the host, and of its
// neighbours, that no file system protects: who serves there may trust a user whom the container has.
func TestAbstractSockets(t *testing.T) {
	abstractSockets(t, open(t, runc.Options{Network: runc.NetworkOptions{Host: true}}))
}

func abstractSockets(t *testing.T, b *runc.Backend) {
	if !runc.HasScopes() {
		t.Skip("it takes Linux 6.12 or later, with Landlock")
	}
	name := func(who string) string { return fmt.Sprintf("deakit-test-%s-%d", who, time.Now().UnixNano()) }
	host := name("host")
	l, err := net.Listen("unix", "@"+host)
	require.NoError(t, err)
	var answering sync.WaitGroup
	answering.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(conn, "this is the host")
			conn.Close()
		}
	})
	defer answering.Wait()
	defer l.Close()

	first, second := name("first"), name("second")
	out := served(t, create(t, b, withHelper(t)), first+" "+host)
	assert.Contains(t, out, "this is "+first, "its own")
	assert.Contains(t, out, "@"+host+": connect: operation not permitted", "the host's")
	out = served(t, create(t, b, withHelper(t)), second+" "+first)
	assert.Contains(t, out, "this is "+second)
	assert.Contains(t, out, "@"+first+": connect: operation not permitted", "the neighbour's")
}

// served runs the helper as root, until it serves, and returns what it printed.
func served(t *testing.T, c container.Container, names string) string {
	t.Helper()
	var mu sync.Mutex
	var out bytes.Buffer
	text := func() string {
		mu.Lock()
		defer mu.Unlock()
		return out.String()
	}
	_, err := c.Run(context.Background(), asRoot(helperSpec("abstract "+names)), container.IO{Stdout: writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(p)
	})})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return strings.HasSuffix(text(), "served\n") }, 30*time.Second, 10*time.Millisecond)
	return text()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
