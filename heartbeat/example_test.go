package heartbeat_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
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

// A resurrector of one's own asks an AgentMonitor whom to bring back. What it is told here comes from NATS in a program, by an
// AgentReceiver.
func ExampleAgentMonitor() {
	now := time.Date(2014, 3, 1, 12, 0, 0, 0, time.UTC)
	monitor := heartbeat.NewAgentMonitor(heartbeat.AgentMonitorConfig{})
	monitor.Manage([]string{"router-0", "router-1", "nats-0"}, now) // the machines that the director has

	beat := func(id string, state messaging.JobState) {
		if _, err := monitor.Heartbeat(id, messaging.AgentHeartbeat{JobState: state}, now); err != nil {
			fmt.Println(err)
		}
	}
	for range 3 { // router-1 is never heard
		beat("router-0", messaging.JobRunning)
		beat("nats-0", messaging.JobFailing)
		now = now.Add(30 * time.Second)
	}

	for _, status := range monitor.Agents(now) {
		fmt.Printf("%s is %s, healthy: %t\n", status.ID, status.Life, status.Healthy())
	}
	for _, finding := range monitor.Check(now) {
		switch f := finding.(type) {
		case heartbeat.AgentLost:
			fmt.Printf("recreate %s, lost at %s\n", f.ID, f.Since.Format(time.TimeOnly))
		case heartbeat.AgentRogue:
			fmt.Printf("whose is %s?\n", f.ID)
		}
	}
	// Output:
	// nats-0 is alive, healthy: false
	// router-0 is alive, healthy: true
	// router-1 is lost, healthy: false
	// recreate router-1, lost at 12:01:00
}

// Whoever may subscribe to hm.agent.> is told of all agents.
func ExampleAgentReceiver() {
	conn, err := messaging.Connect(messaging.Config{Servers: []string{"nats://127.0.0.1:4222"}})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	receiver, err := heartbeat.NewAgentReceiver(conn, heartbeat.AgentReceiverConfig{Observe: func(event heartbeat.AgentEvent) {
		switch e := event.(type) {
		case heartbeat.AgentBeat:
			if e.Before.Beat.JobState != e.Beat.JobState {
				fmt.Println(e.ID, "is", e.Beat.JobState)
			}
		case heartbeat.AgentAlerted:
			fmt.Println(e.ID, "says", e.Alert.Title)
		case heartbeat.AgentLeft:
			fmt.Println(e.ID, "goes")
		case heartbeat.AgentLost:
			fmt.Println(e.ID, "is gone since", e.Seen)
		}
	}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := receiver.Run(ctx); err != nil {
		log.Print(err)
	}
}
