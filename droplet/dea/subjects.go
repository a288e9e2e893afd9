package dea

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/messaging"
)

func (d *DEA) subscribe() error {
	return errors.Join(
		messaging.Handle(d.inbox, messaging.DEALocate, func(context.Context, messaging.Signal) { d.advertise() }),
		messaging.Handle(d.inbox, messaging.DEAStart(d.cfg.ID), func(_ context.Context, m messaging.StartMessage) { d.startInstance(m, nil) }),
		messaging.Handle(d.inbox, messaging.DEAStop, func(_ context.Context, m messaging.StopMessage) { d.stopInstances(m) }),
		messaging.Handle(d.inbox, messaging.DEAUpdate, func(_ context.Context, m messaging.UpdateMessage) { d.updateInstances(m) }),
		messaging.Handle(d.inbox, messaging.HealthManagerStart, func(context.Context, messaging.Signal) { d.heartbeat() }),
		messaging.Handle(d.inbox, messaging.RouterStart, func(_ context.Context, m messaging.RouterHello) { d.routerHello(m) }),
		messaging.Answer(d.inbox, messaging.DEAStatus, func(_ context.Context, _ messaging.Signal, to messaging.Reply) { d.status(to) }),
		d.subscribeLegacy(),
		messaging.Answer(d.inbox, messaging.DEAFindDroplet, func(_ context.Context, m messaging.FindMessage, to messaging.Reply) { d.find(m, to) }),
	)
}

// greetRouter asks a router for its interval. Silence is fine: the timer runs anyway.
func (d *DEA) greetRouter(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	hello, err := messaging.RouterGreet.Ask(ctx, d.parts.Conn, messaging.Signal{})
	if err == nil {
		d.queue.Put(func() { d.routerHello(hello) })
	}
}

func (d *DEA) stopInstances(m messaging.StopMessage) {
	for _, i := range d.registry.Select(m.Filter) {
		i.Stop()
	}
}

// updateInstances changes routes and version; only the differences go to the router.
func (d *DEA) updateInstances(m messaging.UpdateMessage) {
	for _, i := range d.registry.Select(messaging.Filter{Droplet: m.Droplet}) {
		if !i.Status().Healthy() {
			continue
		}
		before, after := i.Update(m.URIs, m.Version)
		d.publishRoute(messaging.RouterRegister, i, after, without(after.URIs, before.URIs))
		d.publishRoute(messaging.RouterUnregister, i, after, without(before.URIs, after.URIs))
		if before.ID != after.ID || !slices.Equal(before.URIs, after.URIs) {
			d.heartbeatDue, d.snapshotDue = true, true
		}
	}
}

// without returns the elements of list that are not in other.
func without(list, other []string) []string {
	there := make(map[string]bool, len(other))
	for _, s := range other {
		there[s] = true
	}
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return there[s] })
}

func (d *DEA) find(m messaging.FindMessage, to messaging.Reply) {
	for _, i := range d.registry.Select(m.Filter) {
		d.unsent(string(messaging.DEAFindDroplet), messaging.Send(to, d.found(i, m)))
	}
}

func (d *DEA) found(i *instance.Instance, m messaging.FindMessage) messaging.FoundInstance {
	s := i.Status()
	found := messaging.FoundInstance{
		DEA: d.cfg.ID, Droplet: i.Message().Droplet, Version: s.Version, Instance: s.ID, Index: i.Index(),
		State: s.State, StateTimestamp: messaging.SecondsOf(s.Since), Staged: "/" + s.ID,
	}
	if m.Path.Present {
		found.FileURIV2 = d.fileURL(s.ID, m.Path.Value)
	}
	if bool(m.IncludeStats) && s.State == messaging.Running {
		found.Stats = stats(i, s)
	}
	return found
}

func stats(i *instance.Instance, s instance.Status) *messaging.Stats {
	limits := i.Message().Limits
	stats := &messaging.Stats{
		Name: i.Message().Name, URIs: s.URIs, Host: s.Container.HostIP,
		Uptime:   messaging.Int(time.Since(s.StartedAt) / time.Second),
		MemQuota: limits.Mem << 20, DiskQuota: limits.Disk << 20, FDsQuota: limits.FDs,
		Usage: messaging.Usage{
			Time: s.Usage.At.Format(messaging.UsageTimeLayout), CPU: s.CPU,
			Mem: s.Usage.MemoryBytes, Disk: s.Usage.DiskBytes,
		},
	}
	if stats.URIs == nil {
		stats.URIs = []string{}
	}
	if s.HostPort != 0 {
		stats.Port = &s.HostPort
	}
	return stats
}
