package standin_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/examples/internal/standin"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConnect(t *testing.T) {
	server := messagingtest.NewServer(t)
	conn, err := standin.Connect(t.Context(), server.URL(), "test")
	require.NoError(t, err)
	assert.True(t, conn.IsConnected())
	conn.Close()

	late := errors.New("it is late")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, late)
	defer cancel()
	_, err = standin.Connect(ctx, "nats://127.0.0.1:1", "test")
	require.ErrorIs(t, err, late)
	assert.ErrorContains(t, err, "name it with --nats")
}

func TestWhereNobodyCanListen(t *testing.T) {
	_, err := standin.Listen("nowhere:x", "")
	assert.ErrorContains(t, err, "--listen: ")
	_, err = standin.Listen("127.0.0.1:0", "x")
	assert.ErrorContains(t, err, "--url must have the form")
}

// Who was told the URL gets an answer, and nobody else.
func TestServer(t *testing.T) {
	s, err := standin.Listen("127.0.0.1:0", "")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })
	go func() { served <- s.Serve(ctx, echo, time.Minute) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(uri string) (int, string) {
		resp, err := client.Get(uri)
		require.NoError(t, err)
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, strings.TrimSpace(string(data))
	}
	status, text := get(s.URI("a", "b c"))
	assert.Equal(t, []any{200, "/a/b c"}, []any{status, text})
	u, err := url.Parse(s.URI("a"))
	require.NoError(t, err)
	password, _ := u.User.Password()
	for _, other := range []*url.Userinfo{nil, url.UserPassword(u.User.Username(), password+"x"), url.UserPassword("x", password)} {
		u.User = other
		status, _ = get(u.String())
		assert.Equal(t, 401, status)
	}
	cancel()
	assert.NoError(t, <-served)
}

// What is told of is another address where the node needs one.
func TestReach(t *testing.T) {
	s, err := standin.Listen("127.0.0.1:0", "https://proxy.example.com/behind")
	require.NoError(t, err)
	u, err := url.Parse(s.URI("a"))
	require.NoError(t, err)
	assert.Equal(t, "proxy.example.com/behind/a", u.Host+u.Path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.NoError(t, s.Serve(ctx, http.NotFoundHandler(), time.Minute))
}
