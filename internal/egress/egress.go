// Package egress turns the egress rules of a message into those of a container.
package egress

import (
	"fmt"
	"strings"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/messaging"
)

// Rules turns the rules of a message into those of a container: one for each port or range of ports, those that log
// last (dea_ng). It fails on a protocol that it does not know.
func Rules(rules []messaging.EgressRule) ([]container.EgressRule, error) {
	var plain, logged []container.EgressRule
	for _, r := range rules {
		rule := container.EgressRule{Protocol: container.Protocol(r.Protocol), Network: r.Destination, Log: r.Log}
		if rule.Validate() != nil {
			return nil, fmt.Errorf("Invalid protocol in egress rule: %s", r.Protocol)
		}
		list := &plain
		if r.Log {
			list = &logged
		}
		switch {
		case rule.Protocol == container.ICMP:
			rule.ICMPType, rule.ICMPCode = r.Type, r.Code
		case (rule.Protocol == container.TCP || rule.Protocol == container.UDP) && r.Ports != "":
			for ports := range strings.SplitSeq(r.Ports, ",") {
				rule.Ports = strings.ReplaceAll(strings.TrimSpace(ports), "-", ":")
				*list = append(*list, rule)
			}
			continue
		}
		*list = append(*list, rule)
	}
	return append(plain, logged...), nil
}
