package transport_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/transport"
)

// What an agent can begin with is let through; what it cannot is refused without its secrets.
func TestCheckMbus(t *testing.T) {
	good, err := transport.SelfSigned("10.0.0.7")
	require.NoError(t, err)
	for _, urls := range [][]string{
		{"nats://nats:pw@10.0.0.6:4222"}, {"tls://10.0.0.6"}, {"nats://a:1, nats://b:2", "nats://c:3"}, {"NATS://[::1]:4222"},
		{"https://vcap:pw@0.0.0.0:6868"}, {"HTTPS://h:1"},
	} {
		require.NoError(t, transport.CheckMbus(urls, nil), urls)
		require.NoError(t, transport.CheckMbus(urls, &good), urls)
	}
	require.NoError(t, transport.CheckMbus([]string{"https://h:1"}, &transport.Certificates{CA: good.CA}), "it makes its own")
	for _, urls := range [][]string{
		nil, {""}, {"nats://"}, {"nats://h:port"}, {"http://u:secret-word@h"}, {"nats://a:1,,nats://b:2"}, {"https://u:secret-word@h"},
		{"https://h:1", "nats://h:1"}, {"nats://u:secret-word%@h:1"},
		{"nonsense"}, {"nonsense:4222"}, {"nats:4222"}, {"10.0.0.6:4222"}, {"nats://h:99999"}, {"nats://h:0"}, {"nats://ok:7422,nonsense"}, {"https://h:99999"},
	} {
		err := transport.CheckMbus(urls, nil)
		require.Error(t, err, urls)
		assert.NotContains(t, err.Error(), "secret-word")
		if len(urls) > 0 && !strings.Contains(urls[0], "https") {
			conn, err := transport.Connect(transport.ConnectConfig{Servers: urls})
			if !assert.Error(t, err, "what is refused cannot be connected to: %q", urls) {
				conn.Close()
			}
		}
	}
	for _, cert := range []transport.Certificates{{CA: "x"}, {PrivateKey: good.PrivateKey}, {CA: good.CA, Certificate: good.Certificate}} {
		require.Error(t, transport.CheckMbus([]string{"https://h:1"}, &cert))
	}
	require.Error(t, transport.CheckMbus([]string{"nats://h:1"}, &transport.Certificates{CA: good.CA}), "NATS wants to see one")
}
