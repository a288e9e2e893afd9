package monit_test

import (
	"fmt"
	"strings"

	"github.com/deakit/deakit/agent/monit"
)

func ExampleParseStatus() {
	status, err := monit.ParseStatus(strings.NewReader(`<?xml version="1.0" encoding="ISO-8859-1"?>
<monit id="60ae" incarnation="1361554104" version="5.33.0">
<services><service name="nats"><type>3</type><status>0</status><monitor>1</monitor><uptime>7</uptime></service></services>
<servicegroups><servicegroup name="vcap"><service>nats</service></servicegroup></servicegroups></monit>`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, service := range status.Group("vcap") {
		fmt.Println(service.Name, service.Process().State)
	}
	// Output: nats running
}
