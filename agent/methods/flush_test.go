package methods_test

import (
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/agent/methods"
	"github.com/deakit/deakit/internal/needs"
)

// The kernel forgets one neighbour and keeps the other, in a network of its own.
func TestFlushNeighbor(t *testing.T) {
	needs.Root(t)
	needs.Tool(t, "ip", "iproute2")
	runtime.LockOSThread() // and never unlocked: the thread ends with the test, and its network with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		needs.Skip(t, "no network namespace can be made: "+err.Error())
	}
	ip := func(args string) string {
		t.Helper()
		out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		require.NoError(t, err, "ip %s: %s", args, out)
		return string(out)
	}
	ip("link add v0 type veth peer name v1")
	ip("link set v0 up")
	ip("address add 203.0.113.1/24 dev v0")
	for _, neighbor := range []string{"203.0.113.8", "203.0.113.9"} {
		ip("neigh add " + neighbor + " lladdr 02:00:00:00:00:01 dev v0 nud stale")
	}
	require.NoError(t, methods.FlushNeighbor(t.Context(), netip.MustParseAddr("203.0.113.9")))
	left := ip("neigh show nud stale")
	assert.Contains(t, left, "203.0.113.8 ")
	assert.NotContains(t, left, "203.0.113.9 ")
	require.NoError(t, methods.FlushNeighbor(t.Context(), netip.MustParseAddr("203.0.113.9")), "there is none")
}
