package dea

import (
	"errors"
	"time"

	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/messaging"
)

// changed tells the others what became of an instance.
func (d *DEA) changed(c instance.Change) {
	s := c.Status
	d.tellChange(c)
	if c.From == s.State { // only what is known of it changed
		d.snapshotDue = true
		return
	}
	// An update may have overtaken the news: what routers know are the routes of now, as the loop alone changes them.
	s.URIs = c.Instance.Status().URIs
	switch s.State {
	case messaging.Starting:
		d.snapshotDue = true
	case messaging.Running:
		d.publishRoute(messaging.RouterRegister, c.Instance, s, s.URIs)
		d.heartbeatDue, d.snapshotDue = true, true
	case messaging.Evacuating:
		if !d.cfg.QuietEvacuation {
			d.postExit(c, messaging.ReasonEvacuation)
		}
		d.heartbeatDue, d.snapshotDue = true, true
	case messaging.Stopping:
		d.publishRoute(messaging.RouterUnregister, c.Instance, s, s.URIs)
		d.snapshotDue = true
	case messaging.Crashed:
		d.publishRoute(messaging.RouterUnregister, c.Instance, s, s.URIs)
		d.postExit(c, messaging.ReasonCrashed)
		d.snapshotDue = true
		d.evacuationCheck()
	case messaging.Stopped:
		d.registry.Remove(c.Instance)
		d.heartbeatDue, d.snapshotDue = true, true
		d.evacuationCheck()
	}
}

func (d *DEA) postExit(c instance.Change, reason string) {
	s, m := c.Status, c.Instance.Message()
	exit := messaging.Exit{
		CCPartition: m.CCPartition, Droplet: m.Droplet, Version: s.Version, Instance: s.ID, Index: m.Index,
		Reason: reason, ExitStatus: s.ExitStatus, ExitDescription: s.ExitDescription,
	}
	if s.State == messaging.Crashed {
		exit.CrashTimestamp = s.Since.Unix()
	}
	d.post(messaging.DropletExited, exit)
}

// post sends an exit now or when there is a server again.
func (d *DEA) post(subject messaging.Subject[messaging.Exit], exit messaging.Exit) {
	if err := messaging.Post(d.outbox, subject, exit); err != nil {
		d.log.Error("dea.publish.failed", "subject", string(subject), "error", err)
	}
}

// publishRoute registers or withdraws routes of an instance. A withdrawal is not lost while no server is reachable: the
// port may soon belong to another app.
func (d *DEA) publishRoute(subject messaging.Subject[messaging.Route], i *instance.Instance, s instance.Status, uris []string) {
	if len(uris) == 0 || s.HostPort == 0 {
		return
	}
	d.sendRoute(subject, messaging.Route{
		DEA: d.cfg.ID, App: i.App(), URIs: uris, Host: s.Container.HostIP, Port: s.HostPort,
		Tags: tags("dea", d.cfg.Index), PrivateInstanceID: i.PrivateID(),
	})
}

func (d *DEA) sendRoute(subject messaging.Subject[messaging.Route], route messaging.Route) {
	var err error
	if subject == messaging.RouterUnregister {
		err = messaging.Post(d.outbox, subject, route)
	} else {
		err = subject.Publish(d.parts.Conn, route)
	}
	d.unsent(string(subject), err)
}

// registerAll registers every route, as routers expect from time to time.
func (d *DEA) registerAll() {
	for _, i := range d.registry.All() {
		if s := i.Status(); s.Healthy() {
			d.publishRoute(messaging.RouterRegister, i, s, s.URIs)
		}
	}
	if route, ok := d.filesRoute(); ok {
		d.sendRoute(messaging.RouterRegister, route)
	}
}

// routerHello adopts the interval that a router asks for, when it is shorter than our own.
func (d *DEA) routerHello(hello messaging.RouterHello) {
	if d.withdrawn {
		return // it answered too late
	}
	// Bounded before it is multiplied: an absurd number must not become a short time.
	wanted := time.Duration(min(hello.MinimumRegisterInterval, 3600)) * time.Second
	if wanted > 0 && wanted < d.interval {
		d.interval = wanted
		d.register.Reset(wanted)
	}
	d.registerAll()
}

// reconnected tells everyone how things are, after a time in which nobody heard of us.
func (d *DEA) reconnected() {
	d.outbox.Flush()
	d.registerAll()
	d.heartbeat()
	d.advertise()
}

func (d *DEA) heartbeat() {
	beat := messaging.Heartbeat{DEA: d.cfg.ID, Droplets: []messaging.Instance{}}
	for _, i := range d.registry.All() {
		s := i.Status()
		switch s.State {
		case messaging.Starting, messaging.Running, messaging.Crashed, messaging.Evacuating:
			m := i.Message()
			beat.Droplets = append(beat.Droplets, messaging.Instance{
				CCPartition: m.CCPartition, Droplet: m.Droplet, Version: s.Version, Instance: s.ID, Index: m.Index,
				State: s.State, StateTimestamp: messaging.SecondsOf(s.Since),
			})
		}
	}
	if d.parts.PostHeartbeat != nil {
		d.parts.PostHeartbeat(beat)
	}
	if !d.cfg.NoNATSHeartbeat {
		d.unsent(string(messaging.DEAHeartbeat), messaging.DEAHeartbeat.Publish(d.parts.Conn, beat))
	}
	d.outbox.Flush()
}

func (d *DEA) advertise() {
	if d.leaving.Load() || d.retired {
		return
	}
	left, url := d.parts.Ledger.Remaining(), messaging.Null[string]()
	if d.cfg.URL != "" {
		url = messaging.Present(d.cfg.URL)
	}
	d.unsent(string(messaging.DEAAdvertise), messaging.DEAAdvertise.Publish(d.parts.Conn, messaging.Advertisement{
		ID: d.cfg.ID, Stacks: d.cfg.Stacks,
		AvailableMemory: messaging.Int(left.MemoryBytes >> 20), AvailableDisk: new(messaging.Int(left.DiskBytes >> 20)),
		AppIDToCount: d.registry.CountByApp(), PlacementProperties: messaging.Placement{Zone: d.cfg.Zone},
		URL: url,
	}))
}

func (d *DEA) goodbye() {
	d.unsent(string(messaging.DEAShutdown), messaging.DEAShutdown.Publish(d.parts.Conn, messaging.Goodbye{
		ID: d.cfg.ID, IP: d.cfg.HostIP, Version: Version, AppIDToCount: d.registry.CountByApp(),
	}))
}

// unsent logs what could not be published. That there is no server at the moment is told by the connection.
func (d *DEA) unsent(subject string, err error) {
	switch {
	case err == nil:
	case errors.Is(err, messaging.ErrDisconnected):
		d.log.Debug("dea.publish.failed", "subject", subject, "error", err)
	default:
		d.log.Error("dea.publish.failed", "subject", subject, "error", err)
	}
}
