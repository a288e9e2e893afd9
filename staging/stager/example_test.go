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
