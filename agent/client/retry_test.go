package client_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// A request that nobody answers is sent again as often as the director of today does, and others are not.
func TestDirectorRetries(t *testing.T) {
	srv := messagingtest.NewServer(t)
	agent := srv.Connect()
	var asked atomic.Int32
	var answer atomic.Int32 // so many are not answered
	_, err := agent.Subscribe("agent.A", func(msg *nats.Msg) {
		var request struct {
			ReplyTo string `json:"reply_to"`
		}
		if asked.Add(1) > answer.Load() && assert.NoError(t, json.Unmarshal(msg.Data, &request)) {
			assert.NoError(t, agent.Publish(request.ReplyTo, []byte(`{"value":"here"}`)))
		}
	})
	require.NoError(t, err)
	require.NoError(t, agent.Flush())
	way, err := client.NewNATS(client.NATSConfig{Conn: srv.Connect(), AgentID: "A", Timeout: 200 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(way.Close)
	c := client.New(client.Config{Transport: way, Retries: client.DirectorRetries()})
	for _, test := range []struct {
		method  string
		retries int32
	}{{"get_state", 2}, {"get_task", 4}, {"upload_blob", 3}, {"stop", 0}} {
		asked.Store(0)
		answer.Store(test.retries)
		value, err := c.Call(t.Context(), test.method)
		require.NoError(t, err, test.method)
		assert.Equal(t, `"here"`, string(value))
		asked.Store(0)
		answer.Store(100)
		_, err = c.Call(t.Context(), test.method)
		require.ErrorIs(t, err, client.ErrNoReply, test.method)
		assert.Equal(t, test.retries+1, asked.Load(), test.method)
	}
}

// Over HTTPS a request that took too long is sent again, and an answer is an answer.
func TestRetriesOverHTTPS(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the client has gone
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer server.Close()
	at, err := url.Parse(server.URL)
	require.NoError(t, err)
	at.User = url.UserPassword("vcap", "pw")
	way, err := client.NewHTTPS(client.HTTPSConfig{URL: at.String(), Timeout: 500 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(way.Close)
	c := client.New(client.Config{Transport: way, Retries: client.DirectorRetries()})
	_, err = c.Call(t.Context(), "get_state")
	require.ErrorContains(t, err, "500")
	assert.Equal(t, int32(2), asked.Load())
}
