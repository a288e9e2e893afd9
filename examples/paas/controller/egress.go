package controller

import "github.com/deakit/deakit/messaging"

// publicNetworks are what apps and staging tasks may reach, where their containers can confine them: the public internet,
// as the default security group of a Cloud Controller says. Name servers are the business of the back end.
func publicNetworks() []messaging.EgressRule {
	var rules []messaging.EgressRule
	for _, destination := range []string{
		"0.0.0.0-9.255.255.255", "11.0.0.0-169.253.255.255", "169.255.0.0-172.15.255.255", "172.32.0.0-192.167.255.255",
		"192.169.0.0-255.255.255.255",
	} {
		rules = append(rules, messaging.EgressRule{Protocol: "all", Destination: destination})
	}
	return rules
}
