package methods_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/agent"
	"github.com/deakit/deakit/agent/blobstore"
	"github.com/deakit/deakit/agent/methods"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/agent/supervisor"
	"github.com/deakit/deakit/agent/transport"
)

// An agent without disks, users and names of other machines, in a directory.
func Example() {
	base, err := os.MkdirTemp("", "agent")
	check(err)
	defer os.RemoveAll(base)
	file := filepath.Join(base, "settings.json")
	check(os.WriteFile(file, []byte(`{"agent_id":"vm-1","vm":{"name":"vm-17"}}`), 0o600))

	loader := settings.NewLoader(settings.LoaderConfig{Source: settings.File{Path: file}, Dir: filepath.Join(base, "bosh")})
	loaded, err := loader.Load(context.Background())
	check(err)
	blobs, err := blobstore.NewClient(blobstore.Config{Store: blobstore.NewLocal(filepath.Join(base, "blobs"), blobstore.LocalOptions{})})
	check(err)
	processes, err := supervisor.NewDev(supervisor.DevConfig{Base: base})
	check(err)

	machine, err := methods.New(methods.Config{AgentID: loaded.AgentID, Base: base},
		methods.Parts{Loader: loader, Settings: loaded, Blobs: blobs, Supervisor: processes})
	check(err)
	check(machine.Boot(context.Background()))
	a, err := agent.New(agent.Config{ID: loaded.AgentID, Methods: machine.Methods()})
	check(err)

	for _, text := range []string{`{"method":"sync_dns"}`, `{"method":"remove_file","arguments":["/"]}`} {
		request, err := transport.DecodeRequest([]byte(text))
		check(err)
		fmt.Println(a.Handle(context.Background(), request).Err)
	}
	// Output:
	// unknown message sync_dns
	// Action Failed remove_file: remove file "/": the base directory of the agent is in it: name what is to be removed below
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
