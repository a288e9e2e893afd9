package container

import (
	"fmt"
	"slices"
)

// Protocol of an egress rule.
type Protocol string

// The protocols of the DEA's egress_network_rules.
const (
	TCP          Protocol = "tcp"
	UDP          Protocol = "udp"
	ICMP         Protocol = "icmp"
	AllProtocols Protocol = "all"
)

// An EgressRule allows traffic out of a container.
type EgressRule struct {
	Protocol Protocol
	Network  string // CIDR, single address, or range "a-b"; empty means everywhere

	// Ports is one port ("80") or a range ("8000:8010"), for TCP and UDP; empty means all.
	Ports string

	// ICMPType and ICMPCode narrow ICMP rules; nil means any.
	ICMPType, ICMPCode *int

	Log bool // log new connections that the rule allows
}

// Validate returns an ErrInvalid when the protocol is unknown. The texts of Network and Ports are judged by the back
// end that applies them.
func (r EgressRule) Validate() error {
	if !slices.Contains([]Protocol{TCP, UDP, ICMP, AllProtocols}, r.Protocol) {
		return fmt.Errorf("egress rule with protocol %q: %w", r.Protocol, ErrInvalid)
	}
	return nil
}
