package applog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrURL: a syslog URL cannot be used. The text of errors that wrap it names no part of the URL but scheme and host.
var ErrURL = errors.New("not a syslog URL")

// ErrAddress: [SyslogConfig.AllowDrain] does not allow the address of a drain.
var ErrAddress = errors.New("address is not allowed for a drain")

// A target is where a syslog URL points to.
type target struct {
	scheme string // one of those in schemes
	host   string
	port   string
}

// schemes of syslog URLs with their default ports. The first two are those of Loggregator.
var schemes = map[string]string{"syslog": "514", "syslog-tls": "6514", "syslog-udp": "514"}

// CheckURL tells whether [SyslogConfig.Target] can be text; else it is an ErrURL that says why.
func CheckURL(text string) error {
	_, err := parseTarget(text)
	return err
}

// parseTarget reads a syslog URL. As Loggregator does, it takes scheme, host and port, and does not care for the rest.
func parseTarget(text string) (target, error) {
	u, err := url.Parse(text)
	if err != nil {
		return target{}, fmt.Errorf("%w: it must have the form syslog://host:port", ErrURL) // the cause repeats the URL
	}
	t := target{scheme: u.Scheme, host: u.Hostname(), port: u.Port()}
	standard, known := schemes[t.scheme]
	switch {
	case !known:
		return target{}, fmt.Errorf("%w: the scheme must be syslog, syslog-tls or syslog-udp", ErrURL)
	case t.host == "" || len(t.host) > 255:
		return target{}, fmt.Errorf("%w: it must have the form %s://host:port", ErrURL, t.scheme)
	case t.port == "":
		t.port = standard
	}
	if n, err := strconv.ParseUint(t.port, 10, 16); err != nil || n == 0 {
		return target{}, fmt.Errorf("%w: %s://%s: the port must be a number from 1 to 65535", ErrURL, t.scheme, t.host)
	}
	return t, nil
}

func (t target) address() string { return net.JoinHostPort(t.host, t.port) }

// String is the URL without anything that could be secret.
func (t target) String() string { return t.scheme + "://" + t.address() }

func (t target) udp() bool { return t.scheme == "syslog-udp" }

// PublicAddress tells whether an address belongs to the public internet, as far as it can be told by the address: it is
// not one of this machine, of a private network, of a link, of a carrier's network, or of a group.
func PublicAddress(address netip.AddrPort) bool {
	ip := address.Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, reserved := range reservedNetworks {
		if reserved.Contains(ip) {
			return false
		}
	}
	return true
}

// reservedNetworks are those of the IANA special-purpose registries that net/netip has no method for.
var reservedNetworks = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, broadcast
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64: an IPv4 address in disguise
	netip.MustParsePrefix("64:ff9b:1::/48"),  // NAT64 of a private network
	netip.MustParsePrefix("2001::/23"),       // Teredo and other protocol assignments
	netip.MustParsePrefix("2002::/16"),       // 6to4
	netip.MustParsePrefix("fec0::/10"),       // site-local
	netip.MustParsePrefix("::/96"),           // IPv4-compatible
	netip.MustParsePrefix("::ffff:0:0:0/96"), // IPv4-translated
}

// unacknowledged is how long a receiver may be silent about what was sent to it. Without this limit a machine that is
// gone would be written to for a quarter of an hour (tcp(7), TCP_USER_TIMEOUT).
const unacknowledged = 30 * time.Second

// dialer makes connections to addresses that allow takes; nil takes all. It is asked for the address that is about to be
// connected to: a name that changes what it stands for cannot get by.
func dialer(allow func(netip.AddrPort) bool) *net.Dialer {
	return &net.Dialer{ControlContext: func(_ context.Context, network, address string, conn syscall.RawConn) error {
		if allow != nil {
			addr, err := netip.ParseAddrPort(address)
			if err != nil || !allow(netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())) {
				return ErrAddress
			}
		}
		if strings.HasPrefix(network, "udp") {
			return nil
		}
		var set error
		err := conn.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged.Milliseconds()))
		})
		return errors.Join(err, set)
	}}
}
