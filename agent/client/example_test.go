package client_test

import (
	"context"
	"fmt"
	"time"

	"github.com/deakit/deakit/agent/client"
	"github.com/deakit/deakit/messaging"
)

// inProcess is an agent that mounts any disk, a little later.
type inProcess struct{ asked int }

func (p *inProcess) Do(_ context.Context, request messaging.AgentRequest) (messaging.AgentReply, error) {
	if p.asked++; p.asked < 3 {
		return messaging.AgentReply{Value: []byte(`{"state":"running","agent_task_id":"7"}`)}, nil
	}
	return messaging.AgentReply{Value: []byte(`{}`)}, nil
}

func Example() {
	agent := client.New(client.Config{
		Transport: &inProcess{}, // elsewhere client.NewHTTPS or client.NewNATS
		PollDelay: time.Millisecond,
		Progress:  func(p client.Progress) { fmt.Println("task", p.TaskID, "of", p.Method, "goes on") },
	})
	fmt.Println(agent.MountDisk(context.Background(), "disk-9a"))
	// Output:
	// task 7 of mount_disk goes on
	// <nil>
}
