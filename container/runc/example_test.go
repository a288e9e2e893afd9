package runc_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc"
)

func Example() {
	ctx := context.Background()
	opts := runc.Options{Depot: "/var/lib/deakit/containers", Network: runc.NetworkOptions{Allow: []string{"0.0.0.0/0"}}}
	for _, f := range runc.Doctor(ctx, opts) {
		fmt.Println(f)
	}
	backend, err := runc.New(opts)
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Leave(ctx) // or Close, which destroys the containers
	c, err := backend.Create(ctx, container.Spec{
		Handle: "hello", Limits: container.Limits{MemoryBytes: 256 << 20, DiskBytes: 1 << 30, PIDs: 512},
	})
	if err != nil {
		log.Fatal(err)
	}
	p, err := c.Run(ctx, container.ProcessSpec{Path: "id"}, container.IO{Stdout: os.Stdout})
	if err != nil {
		log.Fatal(err)
	}
	status, err := p.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("exit status", status)
}
