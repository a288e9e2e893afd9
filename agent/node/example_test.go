package node_test

import (
	"context"
	"fmt"
	"os"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/client"
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

// An agent with a method of one's own, which is called by its name as any other.
func ExampleConfig_methods() {
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	cfg, err := node.Development(dir, "", "https://me:secret@127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg.Methods = []action.Method{{
		Name: "greet",
		Do:   func(_ context.Context, name string) (string, error) { return "hello " + name, nil },
	}}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	places, ended := make(chan node.Place, 1), make(chan error, 1)
	cfg.Ready = func(at node.Place) { places <- at }
	n, err := node.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() { ended <- n.Run(ctx) }()
	select {
	case at := <-places:
		greet("https://me:secret@" + at.Address)
		end()
		fmt.Println(<-ended)
	case err := <-ended:
		fmt.Println(err)
	}
	// Output:
	// "hello you" <nil>
	// <nil>
}

func greet(url string) {
	way, err := client.NewHTTPS(client.HTTPSConfig{URL: url})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer way.Close()
	answer, err := client.New(client.Config{Transport: way}).Call(context.Background(), "greet", "you")
	fmt.Println(string(answer), err)
}
