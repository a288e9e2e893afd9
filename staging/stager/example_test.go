package stager_test

import (
	"context"
	"log"
	"os/signal"
	"syscall"

	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/stager"
)

// Example is a stager that stands alone, in a program of its own.
func Example() {
	conn, err := messaging.Connect(messaging.Config{Servers: []string{"nats://127.0.0.1:4222"}})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	backend, err := process.New(process.Options{Depot: "/var/lib/stager/depot", Fresh: true})
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close(context.Background())
	buildpacks, err := buildpack.OpenStore("/var/lib/stager/admin_buildpacks", buildpack.StoreOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer buildpacks.Close()

	s, err := stager.New(stager.Config{ID: "0-stager", BaseDir: "/var/lib/stager"}, stager.Parts{
		Conn: conn, Backend: backend, Buildpacks: buildpacks,
		Ledger: resources.NewLedger(resources.Capacity{MemoryBytes: 8 << 30, DiskBytes: 64 << 30}),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := s.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// Example_queue is the stager of the time before there were buildpacks.
func Example_queue() {
	conn, err := messaging.Connect(messaging.Config{Servers: []string{"nats://127.0.0.1:4222"}})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	backend, err := process.New(process.Options{Depot: "/var/lib/stager/depot", Fresh: true})
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close(context.Background())

	q, err := stager.NewQueue(stager.QueueConfig{Queues: []string{"staging"}}, stager.QueueParts{Conn: conn, Backend: backend})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2)
	defer stop()
	if err := q.Run(ctx); err != nil { // which answers what it has taken before it returns
		log.Fatal(err)
	}
}
