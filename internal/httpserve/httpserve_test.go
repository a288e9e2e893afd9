package httpserve_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/internal/certtest"
	"github.com/deakit/deakit/internal/httpserve"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRequestsMayEnd(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		_, _ = w.Write([]byte("done"))
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- httpserve.Run(ctx, httpserve.New(handler, slog.New(slog.DiscardHandler)), l) }()

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	body := make(chan string, 1)
	go func() {
		defer close(body)
		resp, err := client.Get("http://" + l.Addr().String())
		if assert.NoError(t, err) {
			defer resp.Body.Close()
			data, err := io.ReadAll(resp.Body)
			assert.NoError(t, err)
			body <- string(data)
		}
	}()
	<-begun
	cancel()
	assert.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, 20*time.Second, time.Millisecond, "nobody new is let in")
	select {
	case <-ended:
		t.Error("Run returned while a request was under way")
	default:
	}
	close(finish)
	assert.Equal(t, "done", <-body)
	assert.NoError(t, <-ended)
}

func TestListenerThatFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	err = httpserve.Run(t.Context(), httpserve.New(http.NotFoundHandler(), slog.New(slog.DiscardHandler)), l)
	assert.ErrorIs(t, err, net.ErrClosed)
}

// Over TLS too, Run waits for handlers whose client has gone.
func TestHandlersEndBeforeRunDoes(t *testing.T) {
	dir := t.TempDir()
	authority := certtest.NewAuthority(t, "ca")
	certificate, err := tls.LoadX509KeyPair(authority.Issue(dir, "node"))
	require.NoError(t, err)
	begun, gone, finish := make(chan struct{}), make(chan struct{}), make(chan struct{})
	server := httpserve.New(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(gone)
		<-finish
	}), slog.New(slog.DiscardHandler))
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- httpserve.Run(ctx, server, l) }()

	client := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: authority.Pool()},
	}}
	request, leave := context.WithCancel(context.Background())
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		req, err := http.NewRequestWithContext(request, http.MethodGet, "https://"+l.Addr().String(), nil)
		if !assert.NoError(t, err) {
			return
		}
		_, err = client.Do(req) //nolint:bodyclose // there is no answer
		assert.ErrorIs(t, err, context.Canceled)
	}()
	<-begun
	leave()
	<-answered
	client.CloseIdleConnections()
	<-gone
	cancel()
	assert.Never(t, func() bool { return len(ended) > 0 }, 500*time.Millisecond, 5*time.Millisecond, "a handler is at work")
	close(finish)
	assert.NoError(t, <-ended)
}

func TestListenerIsClosedWithoutCertificate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := httpserve.New(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	server.TLSConfig = &tls.Config{}
	require.Error(t, httpserve.Run(t.Context(), server, l))
	_, err = net.Dial("tcp", l.Addr().String())
	assert.Error(t, err)
}
