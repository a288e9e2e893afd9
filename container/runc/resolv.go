package runc

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/deakit/deakit/container"
)

// nameServers are what containers ask for names.
type nameServers struct {
	servers []netip.Addr // IPv4, and reachable from a container
	host    bool         // the host itself, at each container's address of it
	options []string     // other lines of resolv.conf
}

// findNameServers takes those given, or those of the host. One of a loopback address is the host's own, and another
// process on the host may forward to real ones: systemd-resolved keeps a list of those.
func findNameServers(given []string) (nameServers, error) {
	var ns nameServers
	for _, text := range given {
		a, err := netip.ParseAddr(text)
		if err != nil || !a.Is4() {
			return ns, fmt.Errorf("option Network.DNS: %q is no IPv4 address: %w", text, container.ErrInvalid)
		}
		ns.servers = append(ns.servers, a)
	}
	if len(given) > 0 {
		return ns, nil
	}
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		if ns = readResolv(path); len(ns.servers) > 0 {
			return ns, nil
		}
	}
	ns.host = true
	return ns, nil
}

func readResolv(path string) (ns nameServers) {
	f, err := os.Open(path)
	if err != nil {
		return ns // a machine without name service
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(fields[1]); err == nil && a.Is4() && !a.IsLoopback() {
				ns.servers = append(ns.servers, a)
			}
		case "search", "domain", "options":
			ns.options = append(ns.options, lines.Text())
		}
	}
	return ns
}

// file returns the resolv.conf of a container that knows the host by an address.
func (ns nameServers) file(host netip.Addr) string {
	var out strings.Builder
	for _, line := range ns.options {
		fmt.Fprintln(&out, line)
	}
	for _, a := range ns.servers {
		fmt.Fprintln(&out, "nameserver", a)
	}
	if ns.host {
		fmt.Fprintln(&out, "nameserver", host)
	}
	return out.String()
}
