package main

import (
	"fmt"
	"strings"

	"github.com/deakit/deakit/examples/paas/client"
	"github.com/deakit/deakit/examples/paas/controller"
)

type deasCmd struct{}

func (c *deasCmd) Run(e *env) error {
	return show(e, (*client.Client).DEAs, func(deas []controller.DEAView) {
		e.screen.line("%-36s %-22s %-8s %9s %10s  %s", "id", "state", "zone", "memory", "disk", "instances")
		for _, d := range deas {
			memory, disk, zone := "-", "-", "-"
			if d.Zone != "" {
				memory, disk, zone = fmt.Sprintf("%d MB", d.MemoryMB), fmt.Sprintf("%d MB", d.DiskMB), d.Zone
			}
			instances := append(counts(d.Instances, ""), counts(d.Crashed, " crashed")...)
			e.screen.line("%-36s %-22s %-8s %9s %10s  %s", d.ID, d.State, zone, memory, disk, strings.Join(instances, ", "))
		}
	})
}

type evacuateCmd struct {
	DEA   string `arg:"" name:"dea" help:"Id of the DEA, or the beginning of it; see: paas deas."`
	Force bool   `help:"Also when no other DEA takes instances. The apps on it then end."`
}

func (c *evacuateCmd) Run(e *env) error {
	return e.with(func(cl *client.Client) error {
		evacuation, err := cl.Evacuate(e.ctx, c.DEA, c.Force)
		switch {
		case err != nil:
			return err
		case e.cli.JSON:
			return writeJSON(evacuation)
		case evacuation.Instances == 0:
			e.screen.line("DEA %s leaves; it has no instances", evacuation.DEA)
		default:
			e.screen.line("DEA %s leaves as soon as its %d instances run elsewhere; to watch: paas events -f", evacuation.DEA, evacuation.Instances)
		}
		return nil
	})
}
