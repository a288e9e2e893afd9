package runc_test

import (
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc"
	"github.com/deakit/deakit/internal/needs"
)

func at(ip string, port uint16) string { return net.JoinHostPort(ip, strconv.Itoa(int(port))) }

// externalAddress returns an address of this machine that is not of loopback.
func externalAddress(t testing.TB) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr().String()
		}
	}
	needs.Skip(t, "this machine has no address but that of loopback")
	return ""
}

// fromHost dials from the test itself.
func fromHost(t testing.TB, address string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	require.NoError(t, err)
	defer conn.Close()
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	return string(answer)
}

func refused(t testing.TB, c container.Container, address, why string) {
	t.Helper()
	out, status := run(t, c, helperSpec("dial "+address))
	assert.NotZero(t, status, why)
	assert.Contains(t, out, "refused", why)
}

// TestPortMapping reaches a container through mapped ports: conformance item 40.
func TestPortMapping(t *testing.T) {
	external := externalAddress(t)
	b := open(t, runc.Options{})
	c := create(t, b, withHelper(t))
	listening(t, c, ":8080")
	m, err := c.NetIn(t.Context(), 0, 8080)
	require.NoError(t, err)
	for _, ip := range []string{"127.0.0.1", external} {
		assert.Contains(t, fromHost(t, at(ip, m.HostPort)), "hello ")
	}
	require.NoError(t, c.Destroy(t.Context()))
	for _, ip := range []string{"127.0.0.1", external} {
		_, err := net.DialTimeout("tcp", at(ip, m.HostPort), 5*time.Second)
		assert.Error(t, err, "after Destroy")
	}
}

// TestNothingIsReached lets a container try to reach what it has no business with.
func TestNothingIsReached(t *testing.T) {
	external := externalAddress(t)
	b := open(t, runc.Options{Network: runc.NetworkOptions{DNS: []string{"192.0.2.53"}}})
	attacker, neighbour := create(t, b, withHelper(t)), create(t, b, withHelper(t))
	listening(t, neighbour, ":8080")
	m, err := neighbour.NetIn(t.Context(), 0, 8080)
	require.NoError(t, err)
	info, err := neighbour.Info(t.Context())
	require.NoError(t, err)
	gateway := strings.TrimSpace(output(t, attacker, shell("ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p'")))
	require.NotEmpty(t, gateway)

	_, loopbackPort, err := net.SplitHostPort(hostServer(t, "127.0.0.1:0"))
	require.NoError(t, err)
	_, everyPort, err := net.SplitHostPort(hostServer(t, "0.0.0.0:0"))
	require.NoError(t, err)
	targets := map[string]string{
		"host's loopback by its own":     "127.0.0.1:" + loopbackPort,
		"host's loopback by the gateway": gateway + ":" + loopbackPort,
		"host, at the gateway":           gateway + ":" + everyPort,
		"host, at another address":       external + ":" + everyPort,
		"neighbour":                      at(info.ContainerIP, 8080),
		"neighbour, by its mapped port":  at(external, m.HostPort),
		"elsewhere":                      "192.0.2.1:80",
	}
	for why, address := range targets {
		refused(t, attacker, address, why)
	}

	// Even who may go everywhere reaches neighbours at mapped ports only, and the host not at all.
	require.NoError(t, attacker.NetOut(t.Context(), container.EgressRule{Protocol: container.AllProtocols}))
	delete(targets, "elsewhere")
	delete(targets, "neighbour, by its mapped port")
	for why, address := range targets {
		refused(t, attacker, address, why+", with a rule that allows all")
	}
	assert.Contains(t, output(t, attacker, helperSpec("dial "+at(external, m.HostPort))), "hello ")

	// And its own mapped port, which leads back to itself.
	listening(t, attacker, ":9090")
	own, err := attacker.NetIn(t.Context(), 0, 9090)
	require.NoError(t, err)
	assert.Contains(t, output(t, attacker, helperSpec("dial "+at(external, own.HostPort))), "hello ")
}

// beyond connects this machine to another one, whose address it returns, by a network that is not the containers'.
func beyond(t testing.TB, port string) string {
	t.Helper()
	const name = "runctest-out"
	ns, err := netns.GetFromPid(outside(t, ":"+port))
	require.NoError(t, err)
	defer ns.Close()
	handle, err := netlink.NewHandleAt(ns)
	require.NoError(t, err)
	defer handle.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerNamespace = "out0", netlink.NsFd(ns)
	require.NoError(t, netlink.LinkAdd(pair))
	t.Cleanup(func() { _ = netlink.LinkDel(pair) }) // it may be gone with the namespace
	peer, err := handle.LinkByName("out0")
	require.NoError(t, err)
	for here, there := range map[string]string{"198.51.100.1/30": "198.51.100.2/30", "169.254.77.1/30": "169.254.77.2/30"} {
		addr, err := netlink.ParseAddr(here)
		require.NoError(t, err)
		require.NoError(t, netlink.AddrAdd(pair, addr))
		addr, err = netlink.ParseAddr(there)
		require.NoError(t, err)
		require.NoError(t, handle.AddrAdd(peer, addr))
	}
	require.NoError(t, netlink.LinkSetUp(pair))
	require.NoError(t, handle.LinkSetUp(peer))
	return "198.51.100.2"
}

// TestEgress lets a container reach another machine, as far as rules go.
func TestEgress(t *testing.T) {
	requirements(t)
	ip := beyond(t, "7000")
	depot := depotDir(t)
	b := open(t, runc.Options{Depot: depot})
	c := create(t, b, withHelper(t))
	refused(t, c, ip+":7000", "without a rule")
	for _, rule := range []container.EgressRule{
		{Protocol: container.UDP, Network: ip},
		{Protocol: container.TCP, Network: "198.51.100.3"},
		{Protocol: container.TCP, Network: ip, Ports: "6000:6999"},
	} {
		require.NoError(t, c.NetOut(t.Context(), rule))
		refused(t, c, ip+":7000", "with a rule that does not match")
	}
	for _, rule := range []container.EgressRule{
		{Protocol: container.TCP, Network: ip, Ports: "7000", Log: true},
		{Protocol: container.TCP, Network: "198.51.100.0/24", Ports: "6999:7001"},
		{Protocol: container.TCP, Network: "198.51.100.1-198.51.100.9"},
		{Protocol: container.AllProtocols, Network: ip},
	} {
		c := create(t, b, withHelper(t))
		require.NoError(t, c.NetOut(t.Context(), rule))
		assert.Equal(t, "hello 198.51.100.1", output(t, c, helperSpec("dial "+ip+":7000")), "%+v; and it sees this machine's address", rule)
		require.NoError(t, c.Destroy(t.Context()))
	}
	require.NoError(t, c.NetOut(t.Context(), container.EgressRule{Protocol: container.TCP, Network: ip}))
	output(t, c, helperSpec("dial "+ip+":7000"))

	// A successor keeps the rules, also that there were none.
	other := create(t, b, withHelper(t))
	require.NoError(t, b.Leave(t.Context()))
	b = open(t, runc.Options{Depot: depot})
	c, err := b.Lookup(t.Context(), c.Handle())
	require.NoError(t, err)
	output(t, c, helperSpec("dial "+ip+":7000"))
	other, err = b.Lookup(t.Context(), other.Handle())
	require.NoError(t, err)
	refused(t, other, ip+":7000", "after adoption")

	allow := open(t, runc.Options{Network: runc.NetworkOptions{Allow: []string{"198.51.100.0/30"}}})
	output(t, create(t, allow, withHelper(t)), helperSpec("dial "+ip+":7000"))
}

// TestLinkLocal keeps the neighbourhood of the machine from containers that may go everywhere, until a rule names it.
func TestLinkLocal(t *testing.T) {
	requirements(t)
	ip := beyond(t, "7000")
	const local = "169.254.77.2"
	b := open(t, runc.Options{Network: runc.NetworkOptions{Allow: []string{"0.0.0.0/0"}}})
	c := create(t, b, withHelper(t))
	for _, everywhere := range []container.EgressRule{
		{Protocol: container.TCP},
		{Protocol: container.TCP, Network: "0.0.0.0/0", Ports: "7000"},
		{Protocol: container.AllProtocols},
		{Protocol: container.AllProtocols, Network: "169.0.0.0/8"},
		{Protocol: container.AllProtocols, Network: "169.254.0.0-170.0.0.0"},
	} {
		require.NoError(t, c.NetOut(t.Context(), everywhere))
		refused(t, c, local+":7000", "the neighbourhood")
		output(t, c, helperSpec("dial "+ip+":7000"))
	}
	require.NoError(t, c.NetOut(t.Context(), container.EgressRule{Protocol: container.TCP, Network: local}))
	output(t, c, helperSpec("dial "+local+":7000"))
	named := open(t, runc.Options{Network: runc.NetworkOptions{Allow: []string{"169.254.77.0/30"}}})
	output(t, create(t, named, withHelper(t)), helperSpec("dial "+local+":7000"))
}

// TestHostIsNameServer lets containers ask a name server that is an address of the host, and nothing else there.
func TestHostIsNameServer(t *testing.T) {
	external := externalAddress(t)
	b := open(t, runc.Options{Network: runc.NetworkOptions{DNS: []string{external}}})
	c := create(t, b, withHelper(t))
	assert.Equal(t, "the host", output(t, c, helperSpec("dial "+hostServer(t, external+":53"))))
	refused(t, c, hostServer(t, external+":0"), "another port")
}

// TestHostLoopback sends to the loopback of the host by way of the interface to it, which takes no privilege.
func TestHostLoopback(t *testing.T) {
	b := open(t, runc.Options{Network: runc.NetworkOptions{AllowHost: true}})
	c := create(t, b, withHelper(t))
	theirs, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer theirs.Close()
	ours, err := net.ListenPacket("udp4", "0.0.0.0:0")
	require.NoError(t, err)
	defer ours.Close()
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	host := netip.MustParseAddr(info.ContainerIP).Prev()
	output(t, c, helperSpec("send-out "+theirs.LocalAddr().String()))
	_, port, err := net.SplitHostPort(ours.LocalAddr().String())
	require.NoError(t, err)
	output(t, c, helperSpec("send-out "+net.JoinHostPort(host.String(), port)))
	buf := make([]byte, 100)
	require.NoError(t, ours.SetReadDeadline(time.Now().Add(20*time.Second)))
	n, _, err := ours.ReadFrom(buf)
	require.NoError(t, err, "to other addresses it may")
	assert.Equal(t, "a datagram", string(buf[:n]))
	// They took the same way, so that to the loopback would be there before the next one.
	_, err = ours.WriteTo([]byte("of the host"), theirs.LocalAddr())
	require.NoError(t, err)
	n, _, err = theirs.ReadFrom(buf)
	require.NoError(t, err)
	assert.Equal(t, "of the host", string(buf[:n]))
}

func TestAllowHost(t *testing.T) {
	external := externalAddress(t)
	b := open(t, runc.Options{Network: runc.NetworkOptions{AllowHost: true}})
	c := create(t, b, withHelper(t))
	_, port, err := net.SplitHostPort(hostServer(t, "0.0.0.0:0"))
	require.NoError(t, err)
	assert.Equal(t, "the host", output(t, c, helperSpec("dial "+external+":"+port)))
	_, loopback, err := net.SplitHostPort(hostServer(t, "127.0.0.1:0"))
	require.NoError(t, err)
	refused(t, c, external+":"+loopback, "loopback stays the host's own")
}

// TestHostNetwork shares the network: what is not enforced then the capabilities say.
func TestHostNetwork(t *testing.T) {
	b := open(t, runc.Options{Network: runc.NetworkOptions{Host: true}})
	caps := b.Capabilities()
	assert.False(t, caps.Network || caps.PortMapping || caps.EgressRules)
	assert.Equal(t, container.NotEnforced, caps.Bandwidth)
	c := create(t, b, withHelper(t))
	assert.Equal(t, "the host", output(t, c, helperSpec("dial "+hostServer(t, "127.0.0.1:0"))))
	m, err := c.NetIn(t.Context(), 0, 0)
	require.NoError(t, err)
	listening(t, c, at("127.0.0.1", m.ContainerPort))
	assert.Equal(t, "hello 127.0.0.1", fromHost(t, at("127.0.0.1", m.HostPort)))
	_, err = c.NetIn(t.Context(), 0, 0)
	require.NoError(t, err)
	_, err = c.NetIn(t.Context(), 7, 8)
	require.ErrorIs(t, err, container.ErrUnsupported)
}

// TestBandwidth measures what a container can send, which is bounded below what the machine can do, and not when the
// limit is taken away.
func TestBandwidth(t *testing.T) {
	ip := "198.51.100.1"
	requirements(t)
	beyond(t, "7000")
	sink, err := net.Listen("tcp4", "0.0.0.0:0")
	require.NoError(t, err)
	defer sink.Close()
	_, port, err := net.SplitHostPort(sink.Addr().String())
	require.NoError(t, err)

	b := open(t, runc.Options{Network: runc.NetworkOptions{AllowHost: true}})
	spec := withHelper(t)
	const rate = 1 << 20
	spec.Limits.Bandwidth = &container.Bandwidth{BytesPerSecond: rate, BurstBytes: 64 << 10}
	c := create(t, b, spec)
	take := func(bytes int64) time.Duration {
		_, err := c.Run(t.Context(), helperSpec("fill "+ip+":"+port), container.IO{})
		require.NoError(t, err)
		conn, err := sink.Accept()
		require.NoError(t, err)
		defer conn.Close()
		began := time.Now()
		_, err = io.CopyN(io.Discard, conn, bytes)
		require.NoError(t, err)
		return time.Since(began)
	}
	assert.Greater(t, take(rate), 500*time.Millisecond, "a second's worth takes about one, less what goes at once")
	require.NoError(t, c.SetLimits(t.Context(), container.Limits{}))
	take(64 * rate) // would take a minute
}

// TestTwoDepots lets two back ends work with the same default pool.
func TestTwoDepots(t *testing.T) {
	first, second := open(t, runc.Options{}), open(t, runc.Options{})
	seen := map[string]bool{}
	for _, b := range []*runc.Backend{first, second, first, second} {
		info, err := create(t, b, container.Spec{}).Info(t.Context())
		require.NoError(t, err)
		assert.False(t, seen[info.ContainerIP], info.ContainerIP)
		seen[info.ContainerIP] = true
	}
}

// TestOwnRulesOnly checks that rules of others are left alone.
func TestOwnRulesOnly(t *testing.T) {
	requirements(t)
	nft := needs.Tool(t, "nft", "nftables")
	const foreign = "deakit_foreign"
	require.NoError(t, exec.Command(nft, "add", "table", "inet", foreign).Run())
	defer func() { require.NoError(t, exec.Command(nft, "delete", "table", "inet", foreign).Run()) }()
	b := open(t, runc.Options{})
	create(t, b, container.Spec{})
	shut(t, b)
	out, err := exec.Command(nft, "list", "tables").Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), "table inet "+foreign+"\n") // among those of others who are at work
}

// TestRulesTakenAway lets somebody remove the table: what fails then is not done later either, and Destroy and Create go
// on working.
func TestRulesTakenAway(t *testing.T) {
	requirements(t)
	nft := needs.Tool(t, "nft", "nftables")
	depot := depotDir(t)
	b := open(t, runc.Options{Depot: depot})
	c := create(t, b, container.Spec{Handle: "poor"})
	mark, err := runc.MarkOf(depot)
	require.NoError(t, err)
	require.NoError(t, exec.Command(nft, "delete", "table", "inet", "deakit_"+mark).Run())
	_, err = c.NetIn(t.Context(), 0, 8080)
	require.Error(t, err)
	require.Error(t, c.NetOut(t.Context(), container.EgressRule{Protocol: container.AllProtocols}))
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	record, err := os.ReadFile(filepath.Join(info.Path, "container.json"))
	require.NoError(t, err)
	assert.NotContains(t, string(record), `"ports"`)
	assert.NotContains(t, string(record), `"egress"`)

	require.NoError(t, b.Leave(t.Context()))
	b = open(t, runc.Options{Depot: depot})
	c, err = b.Lookup(t.Context(), "poor")
	require.NoError(t, err)
	_, err = c.NetIn(t.Context(), 0, 8080)
	require.NoError(t, err)
}

// TestLoggedConnections lets a container make more connections than anybody wants to read about.
func TestLoggedConnections(t *testing.T) {
	requirements(t)
	ip := beyond(t, "7000")
	b := open(t, runc.Options{})
	c := create(t, b, withHelper(t))
	require.NoError(t, c.NetOut(t.Context(), container.EgressRule{Protocol: container.UDP, Network: ip, Log: true}))
	before := loggedTo(t, ip)
	output(t, c, helperSpec("flood "+ip+":9"))
	logged := loggedTo(t, ip) - before
	if logged == 0 {
		needs.Skip(t, "this kernel does not log packets (nf_log_syslog)")
	}
	assert.Less(t, logged, 250)
}

// loggedTo counts the packets to an address in the kernel's log.
func loggedTo(t testing.TB, ip string) int {
	t.Helper()
	buf := make([]byte, 1<<20)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, buf)
	require.NoError(t, err)
	return strings.Count(string(buf[:n]), "DST="+ip+" ")
}
