package config_test

import (
	"fmt"

	"github.com/deakit/deakit/droplet/dea/config"
)

func Example() {
	c, warnings, err := config.Parse([]byte(`
base_dir: /var/vcap/data/dea
pid_filename: /var/vcap/sys/run/dea.pid
index: 0
domain: apps.example.com
logging: {level: info}
nats_uri: nats://user:password@10.0.0.5:4222
stacks: [cflinuxfs2]
directory_server: {protocol: https, v2_port: 5678, file_api_port: 1234}
resources: {memory_mb: 4096, memory_overcommit_factor: 1.5}
intervals: {hearbeat: 5}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range warnings {
		fmt.Println(w)
	}
	fmt.Println(c.NATSServers[0], c.Intervals.Heartbeat, c.Capacity().MemoryBytes>>20)
	// Output:
	// line 7: nats_uri: is the older name of nats_servers
	// line 11: intervals.hearbeat: is an unknown key; did you mean intervals.heartbeat?
	// nats://(hidden)@10.0.0.5:4222 10s 6144
}

func Example_errors() {
	_, _, err := config.Parse([]byte(`
base_dir: /var/vcap/data/dea
pid_filename: /var/vcap/sys/run/dea.pid
index: "0"
domain: apps.example.com
logging: {level: info}
nats_servers: [10.0.0.5]
stacks: [cflinuxfs2]
directory_server: {protocol: https, v2_port: 5678, file_api_port: 1234}
intervals: {router_register_in_seconds: 0}
`))
	fmt.Println(err)
	// Output:
	// Validation config failed with errors: 3
	//   line 4: index: must be a whole number: take the quotes away
	//   line 7: nats_servers[0]: must have the form nats://[user:password@]host:port
	//   line 10: intervals.router_register_in_seconds: Invalid router register interval: must be more than 0 seconds
}
