package runc

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
)

func TestNameServers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "resolv.conf")
	text := "# nameserver 192.0.2.9\nsearch example.com\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver fd00::1\nnameserver\noptions edns0\n"
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	host := netip.MustParseAddr("10.254.0.1")
	assert.Equal(t, "search example.com\noptions edns0\nnameserver 192.0.2.53\n", readResolv(name).file(host))
	assert.Empty(t, readResolv(filepath.Join(t.TempDir(), "none")).servers)

	given, err := findNameServers([]string{"192.0.2.1", "192.0.2.2"})
	require.NoError(t, err)
	assert.Equal(t, "nameserver 192.0.2.1\nnameserver 192.0.2.2\n", given.file(host))
	assert.Equal(t, "nameserver 10.254.0.1\n", nameServers{host: true}.file(host))
	for _, bad := range []string{"x", "fd00::1"} {
		_, err := findNameServers([]string{bad})
		require.ErrorIs(t, err, container.ErrInvalid)
	}
}
