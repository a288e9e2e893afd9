package warden_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/warden"
)

// A server over plain processes, and a client of it, in one program.
func Example() {
	dir, err := os.MkdirTemp("", "warden")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, drain := context.WithCancel(context.Background())

	processes, err := process.New(process.Options{Depot: filepath.Join(dir, "depot")})
	if err != nil {
		log.Fatal(err)
	}
	defer processes.Close(context.Background())
	server, err := warden.NewServer(warden.Config{Backend: processes})
	if err != nil {
		log.Fatal(err)
	}
	socket := filepath.Join(dir, "warden.sock")
	listener, err := warden.Listen(socket, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- server.Run(ctx, listener) }()

	client, err := warden.New(ctx, warden.Options{Address: socket, StateDir: filepath.Join(dir, "client")})
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.Create(ctx, container.Spec{})
	if err != nil {
		log.Fatal(err)
	}
	var out bytes.Buffer
	p, err := c.Run(ctx, container.ProcessSpec{Path: "sh", Args: []string{"-c", "echo hello; exit 3"}}, container.IO{Stdout: &out})
	if err != nil {
		log.Fatal(err)
	}
	status, err := p.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(out.String(), status, "\n")

	client.Close(ctx)
	drain()
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
	// Output:
	// hello
	// 3
}
