package main

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/node"
)

// steps are what --setup asks for, in the order of the original.
func (c *cli) steps(cfg *node.Config) ([]node.Step, error) {
	var steps []node.Step
	add := func(what string, step node.Step) {
		if slices.Contains(c.Setup, what) {
			steps = append(steps, step)
		}
	}
	resolver, err := disk.NewResolver(cfg.Linux)
	if err != nil {
		return nil, err
	}
	const hints = "persistent_disk_hints.json" // wherever the settings are kept
	ephemeral := disk.Ephemeral{
		Resolver: resolver, Dir: filepath.Join(cfg.Base, "data"), Logger: cfg.Logger,
		Hints: []string{filepath.Join(cfg.Base, "bosh", hints), filepath.Join(cfg.Base, "bosh/settings", hints)},
	}
	if memory, ok := cfg.Disks.(*disk.Memory); ok {
		ephemeral.System = memory
	}
	bin := filepath.Join(cfg.Base, "bosh/bin")
	add("programs", node.Program(filepath.Join(bin, "bosh-agent-rc")))
	add("keys", node.Keys("vcap", cfg.Source.PublicSSHKey))
	add("passwords", node.Passwords())
	add("hostname", node.Hostname(cmp.Or(cfg.Root, "/")))
	add("disks", node.EphemeralDisk(ephemeral, cfg.Linux))
	add("programs", node.Program(filepath.Join(bin, "bosh-start-logging-and-auditing")))
	return steps, nil
}

// powerOff is for the method shutdown. It does not wait: the machine ends the agent in its own way.
func powerOff(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, "shutdown", "-P", "now").CombinedOutput(); err != nil {
		return fmt.Errorf("power the machine off: %w: %s", err, out)
	}
	return nil
}
