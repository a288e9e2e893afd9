package settings

import (
	"maps"
	"slices"
)

// Networks are the networks of the machine, by name.
type Networks map[string]Network

// A Network is how the machine is attached to one.
type Network struct {
	Type          string   `json:"type"` // manual, dynamic, vip; empty is manual
	IP            string   `json:"ip"`
	Netmask       string   `json:"netmask"`
	Gateway       string   `json:"gateway"`
	Prefix        string   `json:"prefix,omitempty"`
	Default       []string `json:"default"` // dns, gateway, addressable
	DNS           []string `json:"dns"`
	MAC           string   `json:"mac,omitempty"`
	UseDHCP       bool     `json:"use_dhcp,omitempty"`
	Preconfigured bool     `json:"preconfigured,omitempty"`
	Resolved      bool     `json:"resolved,omitempty"` // the agent found the address out
	Routes        []Route  `json:"routes,omitempty"`
	Alias         string   `json:"alias,omitempty"`
}

// A Route is a static route. Its keys are written as the Go agent writes them.
type Route struct {
	Destination, Gateway, Netmask string
}

// DHCP tells whether the address comes by DHCP.
func (n Network) DHCP() bool {
	switch {
	case n.Type == "vip":
		return false
	case n.Type == "dynamic", n.UseDHCP, n.Resolved:
		return true
	}
	return n.IP == "" || n.Netmask == ""
}

// DefaultFor returns the network that provides a default, such as "dns" or "gateway": the only one there is, or the
// first by name that says so.
func (n Networks) DefaultFor(category string) (Network, bool) {
	for _, name := range slices.Sorted(maps.Keys(n)) {
		if len(n) == 1 || slices.Contains(n[name].Default, category) {
			return n[name], true
		}
	}
	return Network{}, false
}

// DefaultIP returns the address by which the machine is known: that of the network with the default gateway, else of one
// with some default, else any. Among several it is the first by name.
func (n Networks) DefaultIP() (ip string, ok bool) {
	rank := func(network Network) int {
		switch {
		case slices.Contains(network.Default, "gateway"):
			return 0
		case len(network.Default) > 0:
			return 1
		}
		return 2
	}
	best := 3
	for _, name := range slices.Sorted(maps.Keys(n)) {
		if r := rank(n[name]); n[name].IP != "" && r < best {
			best, ip = r, n[name].IP
		}
	}
	return ip, ip != ""
}
