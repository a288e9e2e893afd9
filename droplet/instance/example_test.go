package instance_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/messaging"
)

// Example runs one copy of a droplet and stops it as soon as it is up.
func Example() {
	dir, err := os.MkdirTemp("", "instance-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	backend, err := process.New(process.Options{Depot: filepath.Join(dir, "depot")})
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close(context.Background())
	droplets, err := droplet.NewStore(filepath.Join(dir, "droplets"), droplet.StoreOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer droplets.Close()
	file, sha1 := packExample(dir)

	states := make(chan messaging.State, 10)
	i, err := instance.New(messaging.StartMessage{
		Droplet: "app-guid", Name: "sleeper", Version: "v1", CCPartition: "default", SHA1: sha1, ExecutableURI: "file",
		Services: messaging.Services{}, Limits: messaging.Limits{Mem: 64, Disk: 64, FDs: 64}, StartCommand: "exec sleep 60",
	}, instance.Config{}, instance.Parts{
		Backend: backend, Droplets: droplets,
		Ledger: resources.NewLedger(resources.Capacity{MemoryBytes: 1 << 30, DiskBytes: 1 << 30}),
		Download: func(_ context.Context, _ string, w io.Writer) error {
			data, err := os.ReadFile(file)
			if err == nil {
				_, err = w.Write(data)
			}
			return err
		},
		Observe: func(c instance.Change) {
			if c.From != c.Status.State {
				states <- c.Status.State
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		i.Run(context.Background())
		close(states)
	}()
	for state := range states {
		fmt.Println(state)
		if state == messaging.Running {
			i.Stop()
		}
	}
	// Output:
	// BORN
	// STARTING
	// RUNNING
	// STOPPING
	// STOPPED
}

// packExample makes a droplet that holds no more than a droplet must.
func packExample(dir string) (file, sha1 string) {
	source := filepath.Join(dir, "source")
	if err := os.MkdirAll(filepath.Join(source, "app"), 0o755); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(source, droplet.InfoName), []byte("start_command: 'true'\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	root, err := os.OpenRoot(source)
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()
	var packed strings.Builder
	digest, err := droplet.Pack(context.Background(), &packed, root, ".", droplet.PackOptions{})
	if err != nil {
		log.Fatal(err)
	}
	file = filepath.Join(dir, "droplet.tgz")
	if err := os.WriteFile(file, []byte(packed.String()), 0o600); err != nil {
		log.Fatal(err)
	}
	return file, digest.SHA1
}
