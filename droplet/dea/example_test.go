package dea_test

import (
	"context"
	"log"
	"os/signal"
	"syscall"

	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/messaging"
)

// Example is a DEA in a program of its own.
func Example() {
	conn, err := messaging.Connect(messaging.Config{Servers: []string{"nats://127.0.0.1:4222"}})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	backend, err := process.New(process.Options{Depot: "/var/lib/dea/instances"})
	if err != nil {
		log.Fatal(err)
	}
	droplets, err := droplet.NewStore("/var/lib/dea/droplets", droplet.StoreOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer droplets.Close()

	d, err := dea.New(dea.Config{BaseDir: "/var/lib/dea", Stacks: []string{"cflinuxfs2"}}, dea.Parts{
		Conn: conn, Backend: backend, Droplets: droplets,
		Ledger: resources.NewLedger(resources.Capacity{MemoryBytes: 8 << 30, DiskBytes: 64 << 30}),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := d.Run(ctx); err != nil {
		log.Fatal(err) // what still runs is for the next process
	}
	if err := backend.Close(context.Background()); err != nil {
		log.Fatal(err)
	}
}
