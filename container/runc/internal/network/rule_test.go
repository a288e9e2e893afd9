package network

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/deakit/deakit/container"
)

func TestParse(t *testing.T) {
	for network, want := range map[string][2]string{
		"192.0.2.1":           {"192.0.2.1", "192.0.2.1"},
		"192.0.2.77/24":       {"192.0.2.0", "192.0.2.255"},
		"0.0.0.0/0":           {"0.0.0.0", "255.255.255.255"},
		"192.0.2.1/32":        {"192.0.2.1", "192.0.2.1"},
		"192.0.2.1-192.0.2.9": {"192.0.2.1", "192.0.2.9"},
	} {
		got, err := parse(container.EgressRule{Protocol: container.TCP, Network: network, Ports: "80:90"})
		require.NoError(t, err, network)
		assert.Equal(t, want, [2]string{got.first.String(), got.last.String()}, network)
		assert.EqualValues(t, 80, got.lowPort)
		assert.EqualValues(t, 90, got.highPort)
	}
	code := 300
	for _, rule := range []container.EgressRule{
		{Protocol: "sctp"},
		{Protocol: container.TCP, Network: "x"},
		{Protocol: container.TCP, Network: "192.0.2.9-192.0.2.1"},
		{Protocol: container.TCP, Network: "192.0.2.1-"},
		{Protocol: container.TCP, Network: "2001:db8::1"},
		{Protocol: container.TCP, Network: "2001:db8::/32"},
		{Protocol: container.TCP, Network: "192.0.2.1/33"},
		{Protocol: container.TCP, Ports: "0"},
		{Protocol: container.TCP, Ports: "65536"},
		{Protocol: container.TCP, Ports: "9:8"},
		{Protocol: container.UDP, Ports: "1:2:3"},
		{Protocol: container.ICMP, ICMPType: &code},
	} {
		assert.ErrorIs(t, Check(rule), container.ErrInvalid, "%+v", rule)
	}
	require.NoError(t, Check(container.EgressRule{Protocol: container.AllProtocols, Ports: "ports mean nothing here"}))
}

func TestBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var octets [4]byte
		copy(octets[:], rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address"))
		p := netip.PrefixFrom(netip.AddrFrom4(octets), rapid.IntRange(0, 32).Draw(t, "bits"))
		first, last := bounds(p)
		if !p.Contains(first) || !p.Contains(last) || !p.Contains(p.Addr()) {
			t.Fatalf("%v is not from %v to %v", p, first, last)
		}
		if before := first.Prev(); before.IsValid() && p.Contains(before) {
			t.Fatalf("%v begins before %v", p, first)
		}
		if after := last.Next(); after.IsValid() && p.Contains(after) {
			t.Fatalf("%v ends after %v", p, last)
		}
	})
}

func TestAddresses(t *testing.T) {
	n, err := New(Config{Prefix: "x-", Pool: netip.MustParsePrefix("10.1.254.0/23")})
	require.NoError(t, err)
	assert.Equal(t, 128, n.Size())
	host, own := n.Addresses(64)
	assert.Equal(t, "10.1.255.1", host.String())
	assert.Equal(t, "10.1.255.2", own.String())
	for _, cfg := range []Config{
		{Prefix: "x-", Pool: netip.MustParsePrefix("10.0.0.0/31")}, {Prefix: "x-", Pool: netip.MustParsePrefix("fd00::/64")},
		{Prefix: "much-too-long", Pool: netip.MustParsePrefix("10.0.0.0/24")},
	} {
		_, err := New(cfg)
		assert.Error(t, err)
	}
}
