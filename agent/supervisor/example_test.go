package supervisor_test

import (
	"fmt"

	"github.com/deakit/deakit/agent/supervisor"
)

func ExampleParseMonit() {
	processes, ignored, err := supervisor.ParseMonit([]byte(`
check process nats
  with pidfile /var/vcap/sys/run/nats/nats.pid
  start program "/var/vcap/jobs/nats/bin/nats_ctl start" with timeout 60 seconds
  stop program "/var/vcap/jobs/nats/bin/nats_ctl stop"
  if failed port 4222 then restart
  group vcap`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range processes {
		fmt.Println(p.Name, p.Groups, p.Start.Args, p.Start.Timeout)
	}
	fmt.Printf("%q\n", ignored)
	// Output:
	// nats [vcap] [/var/vcap/jobs/nats/bin/nats_ctl start] 1m0s
	// ["if failed port 4222"]
}
