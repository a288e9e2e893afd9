package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/deakit/deakit/agent/node"
)

// setup are the steps of a word of --setup.
func setup(what string, cfg *node.Config) []node.Step {
	switch what {
	case "keys":
		return []node.Step{node.Keys("vcap", cfg.Source.PublicSSHKey)}
	case "passwords":
		return []node.Step{node.Passwords()}
	case "hostname":
		return []node.Step{node.Hostname(cfg.Root)}
	case "programs":
		return []node.Step{
			node.Program(filepath.Join(cfg.Base, "bosh/bin/bosh-agent-rc")),
			node.Program(filepath.Join(cfg.Base, "bosh/bin/bosh-start-logging-and-auditing")),
		}
	}
	return nil
}

// powerOff is for the method shutdown. It does not wait: the machine ends the agent in its own way.
func powerOff(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, "shutdown", "-P", "now").CombinedOutput(); err != nil {
		return fmt.Errorf("power the machine off: %w: %s", err, out)
	}
	return nil
}
