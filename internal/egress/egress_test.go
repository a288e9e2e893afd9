package egress_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/egress"
	"github.com/deakit/deakit/messaging"
)

func TestRules(t *testing.T) {
	kind, code := 8, 0
	got, err := egress.Rules([]messaging.EgressRule{
		{Protocol: "tcp", Destination: "10.0.0.0/8", Ports: "80, 443,8000-9000", Log: true},
		{Protocol: "udp", Destination: "10.0.0.1"},
		{Protocol: "icmp", Type: &kind, Code: &code},
		{Protocol: "all", Destination: "0.0.0.0-9.255.255.255", Ports: "80"},
	})
	require.NoError(t, err)
	assert.Equal(t, []container.EgressRule{
		{Protocol: container.UDP, Network: "10.0.0.1"},
		{Protocol: container.ICMP, ICMPType: &kind, ICMPCode: &code},
		{Protocol: container.AllProtocols, Network: "0.0.0.0-9.255.255.255"},
		{Protocol: container.TCP, Network: "10.0.0.0/8", Ports: "80", Log: true},
		{Protocol: container.TCP, Network: "10.0.0.0/8", Ports: "443", Log: true},
		{Protocol: container.TCP, Network: "10.0.0.0/8", Ports: "8000:9000", Log: true},
	}, got)

	_, err = egress.Rules([]messaging.EgressRule{{Protocol: "sctp"}})
	assert.EqualError(t, err, "Invalid protocol in egress rule: sctp")
}
