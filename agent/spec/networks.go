package spec

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// An Address is what an agent knows about a network from its settings.
type Address struct {
	DHCP                 bool // the machine got the address by itself
	IP, Netmask, Gateway string
}

// WithAddresses returns the spec with ip, netmask and gateway of its DHCP networks filled in; all others stay as they are,
// and so does s. A network that the settings do not know is an [ErrInvalid], but for one called local at 127.0.0.1
// (bosh-agent).
func (s Spec) WithAddresses(known map[string]Address) (Spec, error) {
	filled := make(map[string]Network, len(s.Networks))
	for _, name := range slices.Sorted(maps.Keys(s.Networks)) {
		network := s.Networks[name]
		address, ok := known[name]
		if !ok && !network.isLocal(name) {
			return Spec{}, fmt.Errorf("%w: Network '%s' is not found in settings", ErrInvalid, name)
		}
		if address.DHCP {
			network = network.with(address)
		}
		filled[name] = network
	}
	if s.Networks != nil {
		s.Networks = filled
	}
	return s, nil
}

func (n Network) isLocal(name string) bool {
	var ip string
	return name == "local" && json.Unmarshal(n["ip"], &ip) == nil && ip == "127.0.0.1"
}

// with leaves out what is not known.
func (n Network) with(a Address) Network {
	if n = maps.Clone(n); n == nil {
		n = Network{}
	}
	for name, value := range map[string]string{"ip": a.IP, "netmask": a.Netmask, "gateway": a.Gateway} {
		if value == "" {
			continue
		}
		quoted, err := json.Marshal(value)
		if err != nil { // of a string there is always a JSON text
			panic(err)
		}
		n[name] = quoted
	}
	return n
}
