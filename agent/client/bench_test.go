package client_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/agent/transport/seal"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// One client that pings, one ping after the other. The yardsticks are the same bytes over bare net/http and bare NATS.
func BenchmarkPing(b *testing.B) {
	keys := &seal.Keys{Crypt: "Y3J5cHQta2V5LWZvci10ZXN0", Sign: "c2lnbi1rZXktZm9yLXRlc3Q="}
	for _, c := range []struct {
		name string
		make func(testing.TB, *seal.Keys) client.Transport
		keys *seal.Keys
	}{
		{"https", func(t testing.TB, k *seal.Keys) client.Transport { return overHTTPS(t, k) }, nil},
		{"https-sealed", func(t testing.TB, k *seal.Keys) client.Transport { return overHTTPS(t, k) }, keys},
		{"nats", func(t testing.TB, k *seal.Keys) client.Transport { return overNATS(t, k) }, nil},
		{"nats-sealed", func(t testing.TB, k *seal.Keys) client.Transport { return overNATS(t, k) }, keys},
	} {
		b.Run(c.name, func(b *testing.B) {
			a := client.New(client.Config{Transport: c.make(b, c.keys)})
			require.NoError(b, a.WaitUntilReady(b.Context()))
			b.ReportAllocs()
			for b.Loop() {
				if err := a.Ping(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			perSecond(b)
		})
	}
	b.Run("yardstick-https", bareHTTPS)
	b.Run("yardstick-nats", bareNATS)
}

func perSecond(b *testing.B) { b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pings/s") }

const (
	pingBody  = `{"method":"ping","arguments":[],"reply_to":"deakit"}`
	pingReply = `{"value":"pong"}`
)

func bareHTTPS(b *testing.B) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, pingReply)
	}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer c.CloseIdleConnections()
	b.ReportAllocs()
	for b.Loop() {
		response, err := c.Post(server.URL, "application/json", bytes.NewReader([]byte(pingBody)))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			b.Fatal(err)
		}
		response.Body.Close()
	}
	perSecond(b)
}

func bareNATS(b *testing.B) {
	srv := messagingtest.NewServer(b)
	conn, agent := srv.Connect(), srv.Connect()
	_, err := agent.Subscribe("agent.A", func(m *nats.Msg) { _ = m.Respond([]byte(pingReply)) })
	require.NoError(b, err)
	require.NoError(b, agent.Flush())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.RequestWithContext(b.Context(), "agent.A", []byte(pingBody)); err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b)
}
