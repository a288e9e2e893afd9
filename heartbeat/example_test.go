package heartbeat_test

import (
	"fmt"
	"time"

	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
)

func Example() {
	now := time.Date(2014, 3, 1, 12, 0, 0, 0, time.UTC)
	monitor := heartbeat.NewMonitor(heartbeat.Config{Settle: -1}) // the only DEA will be heard at once

	// In a program these come from NATS; see messaging.Inbox.
	monitor.Heartbeat(messaging.Heartbeat{DEA: "dea-0", Droplets: []messaging.Instance{
		{Droplet: "shop", Version: "v1", Instance: "9be4", Index: 0, State: messaging.Running},
		{Droplet: "blog", Version: "v7", Instance: "77aa", Index: 0, State: messaging.Running},
	}}, now)

	for _, finding := range monitor.Check([]heartbeat.Desired{{App: "shop", Version: "v1", Instances: 2}}, now) {
		switch f := finding.(type) {
		case heartbeat.Missing:
			if f.Due(now) {
				fmt.Printf("start %s index %d\n", f.App, f.Index)
				monitor.Starting(f.App, f.Version, f.Index, now)
			}
		case heartbeat.Evacuating:
			fmt.Printf("replace %s of %s\n", f.Instance, f.App)
		case heartbeat.Extra:
			fmt.Printf("stop %s of %s: %s\n", f.Instance, f.App, f.Reason)
		}
	}
	// Output:
	// stop 77aa of blog: not wanted
	// start shop index 1
}
