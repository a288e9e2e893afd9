package process_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
)

func Example() {
	depot, err := os.MkdirTemp("", "depot")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(depot)
	ctx := context.Background()

	backend, err := process.New(process.Options{Depot: depot})
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close(ctx)
	c, err := backend.Create(ctx, container.Spec{Handle: "hello"})
	if err != nil {
		log.Fatal(err)
	}
	p, err := c.Run(ctx, container.ProcessSpec{Path: "sh", Args: []string{"-c", "echo hi; exit 3"}}, container.IO{Stdout: os.Stdout})
	if err != nil {
		log.Fatal(err)
	}
	status, err := p.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("exit status", status)
	// Output:
	// hi
	// exit status 3
}
