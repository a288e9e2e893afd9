package settings_test

import (
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/settings"
)

// nameserver answers every question for an A record with 127.0.0.1, and others with nothing. The messages are those of
// RFC 1035: header, question, and an answer that points to the question's name.
func nameserver(t *testing.T) (addr string, asked chan string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	asked = make(chan string, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			end := 12 + strings.IndexByte(string(buffer[12:n]), 0) + 5 // name, type, class
			question := append([]byte{}, buffer[12:end]...)
			reply := append([]byte{buffer[0], buffer[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
			if question[len(question)-3] == 1 { // A
				reply[7] = 1
				reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
				asked <- string(question[1 : 1+question[0]])
			}
			_, _ = conn.WriteTo(reply, from)
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return conn.LocalAddr().String(), asked
}

// TestRegistryByName looks the registry up at the name servers of the user data.
func TestRegistryByName(t *testing.T) {
	server, asked := nameserver(t)
	registry := answers(t, map[string]string{"/instances/i-1/settings": registryAnswer(t, composed)})
	u, err := url.Parse(registry)
	require.NoError(t, err)
	source := settings.Registry{Endpoint: "http://registry.bosh-director.example.:" + u.Port(), InstanceID: "i-1",
		Nameservers: []string{"127.0.0.1:1", server}, Retry: quickly}
	s, err := source.Settings(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "vm-17", s.VM.Name)
	assert.Equal(t, "registry", <-asked)

	// An address needs nobody to look it up.
	source.Endpoint, source.Nameservers = registry, []string{"127.0.0.1:1"}
	_, err = source.Settings(t.Context())
	require.NoError(t, err)
	source.Endpoint = "http://registry.example."
	_, err = source.Settings(t.Context())
	require.ErrorContains(t, err, "look up registry.example.")
}
