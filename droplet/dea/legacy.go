package dea

import (
	"context"
	"errors"
	"time"

	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/messaging"
)

// What monitoring and older peers ask for.

// hello tells once that the DEA is there (until 2016).
func (d *DEA) hello() {
	d.unsent(string(messaging.DEAHello), messaging.DEAHello.Publish(d.parts.Conn, d.greeting()))
}

func (d *DEA) greeting() messaging.Hello {
	return messaging.Hello{ID: d.cfg.ID, IP: d.cfg.HostIP, Version: Version}
}

// subscribeLegacy answers what only peers of 2013 ask.
func (d *DEA) subscribeLegacy() error {
	if !d.cfg.LegacySubjects {
		return nil
	}
	return errors.Join(
		messaging.Answer(d.inbox, messaging.DEADiscover, d.discovered),
		messaging.Answer(d.inbox, messaging.DropletStatus, func(_ context.Context, _ messaging.Signal, to messaging.Reply) { d.summaries(to) }),
	)
}

// status answers the question for figures of memory, in MB.
func (d *DEA) status(to messaging.Reply) {
	var used int64
	for _, i := range d.registry.All() {
		used += i.Status().Usage.MemoryBytes
	}
	d.unsent(string(messaging.DEAStatus), messaging.Send(to, messaging.Capacity{
		ID: d.cfg.ID, IP: d.cfg.HostIP, Version: Version,
		MaxMemory:      messaging.Int(d.parts.Ledger.Capacity().MemoryBytes >> 20),
		ReservedMemory: messaging.Int(d.parts.Ledger.Reserved().MemoryBytes >> 20),
		UsedMemory:     messaging.Int(used >> 20),
	}))
}

// discovered says "here" when there is room, the later the more this DEA has to do: the first answer wins.
func (d *DEA) discovered(ctx context.Context, m messaging.DiscoverMessage, to messaging.Reply) {
	const most = 1 << 40 // more megabytes would not fit a number of bytes
	wanted := resources.Amount{MemoryBytes: min(m.Limits.Mem, most) << 20, DiskBytes: min(m.Limits.Disk, most) << 20}
	if short := d.parts.Ledger.Constrained(wanted); short != resources.None || d.leaving.Load() || d.retired {
		d.log.Info("dea.discover.ignored", "app", string(m.Droplet), "constrained_resource", short, "leaving", d.leaving.Load() || d.retired)
		return
	}
	wait := time.NewTimer(d.taste(string(m.Droplet)))
	d.running.Go(func() {
		defer wait.Stop()
		select {
		case <-wait.C:
			d.unsent(string(messaging.DEADiscover), messaging.Send(to, d.greeting()))
		case <-ctx.Done():
		case <-d.life.Done():
		}
	})
}

// taste is how long to wait before an answer: 10 ms for each instance of the app here, up to 100 ms for the memory in
// use, and no more than 250 ms.
func (d *DEA) taste(app string) time.Duration {
	wait := time.Duration(d.registry.CountByApp()[app]) * 10 * time.Millisecond
	if capacity := d.parts.Ledger.Capacity().MemoryBytes; capacity > 0 {
		wait += time.Duration(float64(100*time.Millisecond) * float64(d.parts.Ledger.Reserved().MemoryBytes) / float64(capacity))
	}
	return min(wait, 250*time.Millisecond)
}

// summaries tells names and routes of what runs, one answer for each instance.
func (d *DEA) summaries(to messaging.Reply) {
	for _, i := range d.registry.All() {
		s := i.Status()
		if s.State != messaging.Starting && s.State != messaging.Running {
			continue
		}
		d.unsent(string(messaging.DropletStatus), messaging.Send(to, messaging.InstanceSummary{
			Name: i.Message().Name, URIs: append([]string{}, s.URIs...),
		}))
	}
}
