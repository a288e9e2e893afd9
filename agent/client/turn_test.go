package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/transport/seal"
	"github.com/deakit/deakit/messaging"
)

// With encryption one request at a time is under way. Whoever waits for another one's end need not.
func TestWaitForTheTurnEnds(t *testing.T) {
	begun, free := make(chan struct{}), make(chan struct{})
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(begun); <-free }))
	defer server.Close()
	tr, err := client.NewHTTPS(client.HTTPSConfig{URL: server.URL, Keys: &seal.Keys{Crypt: "c", Sign: "s"}, AgentID: "A"})
	require.NoError(t, err)
	defer tr.Close()
	first := make(chan error, 1)
	go func() {
		_, err := tr.Do(t.Context(), messaging.AgentRequest{Method: "stop"})
		first <- err
	}()
	<-begun
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("over"))
	second := make(chan error, 1)
	go func() {
		_, err := tr.Do(ctx, messaging.AgentRequest{Method: "ping"})
		second <- err
	}()
	select {
	case err := <-second:
		assert.ErrorContains(t, err, "over")
	case <-time.After(10 * time.Second):
		t.Error("it waits for the first one")
	}
	close(free)
	assert.Error(t, <-first, "the reply is none")
}
