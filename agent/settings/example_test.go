package settings_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/deakit/deakit/agent/settings"
)

func Example() {
	dir, err := os.MkdirTemp("", "settings")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	document := `{"agent_id":"a1","mbus":"nats://10.0.0.6:4222","env":{"bosh":{"mbus":{"urls":["nats://10.0.0.7:4222"]}}}}`
	if err := os.WriteFile(filepath.Join(dir, "env.json"), []byte(document), 0o600); err != nil {
		panic(err)
	}

	loader := settings.NewLoader(settings.LoaderConfig{
		Source: settings.File{Path: filepath.Join(dir, "env.json")},
		Dir:    filepath.Join(dir, "bosh"),
	})
	s, err := loader.Load(context.Background())
	if err != nil {
		panic(err)
	}
	update, err := loader.Update()
	if err != nil {
		panic(err)
	}
	fmt.Println(s.AgentID, s.Effective(update).MbusURLs)
	// Output: a1 [nats://10.0.0.7:4222]
}
