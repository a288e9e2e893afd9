package memory_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/deakit/deakit/container/memory"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/messaging"
)

// Example runs an instance of a droplet whose app is a function, and stops it as soon as the app says that it is up.
func Example() {
	app := func(ctx context.Context, p *memory.Process) int {
		script, err := io.ReadAll(p.Stdin)
		if err != nil {
			return 1
		}
		command := strings.TrimSpace(string(script[strings.LastIndex(string(script), "exec bash -c"):]))
		fmt.Println(command, "on port", p.Getenv("PORT"))
		term := p.Trap(syscall.SIGTERM)
		if err := p.Files().WriteFile("state.json", []byte(`{"state": "RUNNING"}`), 0o600); err != nil {
			return 1
		}
		select {
		case <-term:
			fmt.Println("told to end")
			return 0
		case <-ctx.Done():
			return 1
		}
	}
	backend := memory.New(memory.Options{Programs: map[string]memory.Program{"/bin/bash": app}})
	defer backend.Close(context.Background())

	dir, err := os.MkdirTemp("", "memory-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	start, parts := newNode(dir, map[string]string{
		droplet.InfoName: "start_command: ./server\n", "droplet.yaml": "state_file: state.json\n", "app/server": "",
	})
	defer parts.Droplets.Close()
	parts.Backend = backend
	states := make(chan messaging.State, 10)
	parts.Observe = func(c instance.Change) {
		if c.From != c.Status.State {
			states <- c.Status.State
		}
	}
	i, err := instance.New(start, instance.Config{}, parts)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		i.Run(context.Background())
		close(states)
	}()
	for state := range states {
		if state == messaging.Running {
			unpacked := backend.Container(i.Status().Handle).Files().List("app")
			fmt.Println("unpacked", unpacked)
			i.Stop()
		}
	}
	fmt.Println(i.Status().State)
	// Output:
	// exec bash -c './server' </dev/null on port 61000
	// unpacked [/home/vcap/app /home/vcap/app/server]
	// told to end
	// STOPPED
}

// newNode packs files into a droplet, and returns what an instance of it needs, but for the back end.
func newNode(dir string, files map[string]string) (messaging.StartMessage, instance.Parts) {
	check := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	for name, content := range files {
		name = filepath.Join(dir, "source", name)
		check(os.MkdirAll(filepath.Dir(name), 0o755))
		check(os.WriteFile(name, []byte(content), 0o644))
	}
	root, err := os.OpenRoot(filepath.Join(dir, "source"))
	check(err)
	defer root.Close()
	var packed strings.Builder
	digest, err := droplet.Pack(context.Background(), &packed, root, ".", droplet.PackOptions{})
	check(err)
	store, err := droplet.NewStore(filepath.Join(dir, "droplets"), droplet.StoreOptions{})
	check(err)
	start := messaging.StartMessage{
		Droplet: "app-guid", Name: "app", Version: "v1", CCPartition: "default", SHA1: digest.SHA1, ExecutableURI: "packed",
		Services: messaging.Services{}, Limits: messaging.Limits{Mem: 64, Disk: 64, FDs: 64},
	}
	return start, instance.Parts{
		Droplets: store,
		Ledger:   resources.NewLedger(resources.Capacity{MemoryBytes: 1 << 30, DiskBytes: 1 << 30}),
		Download: func(_ context.Context, _ string, w io.Writer) error {
			_, err := io.WriteString(w, packed.String())
			return err
		},
		Observe: func(instance.Change) {},
	}
}
