package node_test

import (
	"context"
	"fmt"
	"os"

	"github.com/deakit/deakit/agent/node"
)

// A whole agent in a directory, until somebody ends it.
func ExampleDevelopment() {
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	cfg, err := node.Development(dir, "my-agent", "https://127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	cfg.Ready = func(at node.Place) {
		fmt.Println(at.AgentID, "takes requests")
		end()
	}
	n, err := node.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(n.Run(ctx))
	// Output:
	// my-agent takes requests
	// <nil>
}
