package controller

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
)

// beat takes a heartbeat in and acts on it.
func (c *Controller) beat(m messaging.Heartbeat) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	before := map[string]messaging.State{}
	for _, i := range m.Droplets {
		for _, known := range c.monitor.Instances(string(i.Droplet), now) {
			before[known.Instance] = known.State
		}
	}
	c.monitor.Heartbeat(m, now)
	for _, i := range m.Droplets {
		if was := before[i.Instance]; was != i.State {
			c.tellState(i, m.DEA)
		}
	}
	c.beaten(m, now)
	c.reconcile(now)
}

// tellState tells of a change of an instance that somebody follows.
func (c *Controller) tellState(i messaging.Instance, dea string) {
	kinds := map[messaging.State]string{
		messaging.Starting: "instance.starting", messaging.Running: "instance.running", messaging.Evacuating: "instance.evacuating",
	}
	kind, ok := kinds[i.State]
	a := c.byGUID(string(i.Droplet))
	if !ok || a == nil {
		return
	}
	c.tell(Event{Kind: kind, App: a.Name, Index: &i.Index, DEA: dea, Text: short(i.Instance)})
}

// exited takes the end of an instance in and acts on it.
func (c *Controller) exited(m messaging.Exit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.monitor.Exited(m, now)
	if m.Reason == messaging.ReasonCrashed {
		c.crashed(m.Instance)
	}
	a := c.byGUID(string(m.Droplet))
	if a == nil {
		return
	}
	if m.Reason == messaging.ReasonCrashed {
		delete(c.lived, heartbeat.Slot{App: a.guid, Version: m.Version, Index: m.Index})
		a.crashes[m.Index] = crash{m.Instance, now}
		why := m.ExitDescription
		if m.ExitStatus >= 0 {
			why = fmt.Sprintf("%s (status %d)", why, m.ExitStatus)
		}
		c.tell(Event{Kind: "instance.crashed", App: a.Name, Index: &m.Index, Text: why})
		if a.rollout != nil && a.rollout.version == m.Version {
			c.rollBack(a, &CrashError{m.Instance, m.Index, why})
		}
	}
	c.reconcile(now)
}

// reconcile compares what should run with what does, and acts on the differences; c.mu is held.
func (c *Controller) reconcile(now time.Time) {
	c.bury(now)
	for _, a := range c.sorted() {
		c.checkRollout(a, now)
	}
	desired := c.desired()
	for _, finding := range c.monitor.Check(desired, now) {
		switch f := finding.(type) {
		case heartbeat.Missing:
			c.missed(f.Slot)
			if f.Due(now) {
				c.startInstance(f.Slot, now)
			}
		case heartbeat.Evacuating:
			if f.Due(now) {
				c.startInstance(f.Slot, now)
			}
		case heartbeat.Extra:
			if !c.spared(f, now) {
				c.stopInstance(f, now)
			}
		}
	}
	c.forget(desired, now)
}

// forget drops what is of no use any more, so that nothing grows with time.
func (c *Controller) forget(desired []heartbeat.Desired, now time.Time) {
	wanted := map[string]string{}
	for _, d := range desired {
		wanted[d.App] = d.Version
	}
	maps.DeleteFunc(c.lived, func(slot heartbeat.Slot, _ string) bool { return wanted[slot.App] != slot.Version })
	maps.DeleteFunc(c.deleted, func(_ string, d deletion) bool { return now.Sub(d.at) > remembered })
	maps.DeleteFunc(c.strangers, func(_ string, since time.Time) bool { return now.Sub(since) > remembered })
	for _, a := range c.apps {
		maps.DeleteFunc(a.crashes, func(_ int, was crash) bool { return now.Sub(was.at) > remembered })
	}
}

// spared tells whether an instance is left alone although it is extra: one of the old version while the new one comes up, and
// for a while one of an app that we have never heard of, which is told.
func (c *Controller) spared(f heartbeat.Extra, now time.Time) bool {
	if a := c.byGUID(f.App); a != nil {
		return a.rollout != nil && f.Version != a.rollout.version && f.Reason == heartbeat.IndexTooHigh
	}
	if _, ours := c.deleted[f.App]; ours {
		return false
	}
	since, seen := c.strangers[f.Instance]
	if !seen {
		since = now
		c.strangers[f.Instance] = now
		c.tell(Event{
			Kind: "instance.unknown", App: c.nameOf(f.App), Index: &f.Index, DEA: f.DEA,
			Text: fmt.Sprintf("of no app that this controller has; stopped in %s. A controller that was restarted has none: push again", c.cfg.Strangers),
		})
	}
	return now.Sub(since) < c.cfg.Strangers
}

func (c *Controller) desired() []heartbeat.Desired {
	var desired []heartbeat.Desired
	for _, a := range c.sorted() {
		d := heartbeat.Desired{App: a.guid, Version: a.release.version, Instances: a.Instances}
		if a.rollout != nil {
			d.Version, d.Instances = a.rollout.version, a.rollout.settings.Instances
		}
		if !a.stopped && d.Version != "" {
			desired = append(desired, d)
		}
	}
	return desired
}

// checkRollout ends the rollout of an app whose new version serves at every index, or has had its time.
func (c *Controller) checkRollout(a *app, now time.Time) {
	r := a.rollout
	if r == nil {
		return
	}
	serving := map[int]bool{}
	for _, i := range c.monitor.Instances(a.guid, now) {
		switch {
		case i.Version != r.version || i.Index >= r.settings.Instances:
		case i.State == messaging.Running:
			serving[i.Index] = true
		case i.State == messaging.Starting:
			r.starved = time.Time{} // when it runs, it makes room for the next
		}
	}
	switch {
	case len(serving) == r.settings.Instances:
		a.Settings, a.release, a.rollout = r.settings, r.release, nil
		c.tell(Event{Kind: "app.running", App: a.Name, Text: fmt.Sprintf("%d instances", len(serving))})
		r.done <- nil
	case now.After(r.until):
		c.rollBack(a, fmt.Errorf("%d of %d instances of the new version came up within %s", len(serving), r.settings.Instances, c.cfg.RolloutTimeout))
	case !r.starved.IsZero() && now.Sub(r.starved) > c.cfg.PlacementTimeout:
		c.rollBack(a, fmt.Errorf("%d of %d instances of the new version came up, and for %s %s", len(serving), r.settings.Instances,
			c.cfg.PlacementTimeout, noRoom(r.settings)))
	}
}

func noRoom(s Settings) string {
	return fmt.Sprintf("no DEA offers %d MB of memory and %d MB of disk", s.MemoryMB, s.DiskMB)
}

// rollBack gives a new version up. The old one, if there is one, has gone on running meanwhile.
func (c *Controller) rollBack(a *app, why error) {
	r := a.rollout
	a.rollout = nil
	if a.release.version == "" {
		a.stopped, a.crashed = true, true
		a.Settings = r.settings // what the next push leaves out is as it was in this one
	}
	c.tell(Event{Kind: "app.rollback", App: a.Name, Text: why.Error()})
	err := messaging.DEAStop.Publish(c.conn, messaging.StopMessage{
		Filter: messaging.Filter{Droplet: messaging.Text(a.guid), Version: &r.version},
	})
	r.done <- errors.Join(why, err)
}

// startInstance has one instance started by the DEA that suits best; c.mu is held.
func (c *Controller) startInstance(slot heartbeat.Slot, now time.Time) {
	a := c.byGUID(slot.App)
	if a == nil {
		return
	}
	settings, release, rollout := a.Settings, a.release, a.rollout
	if rollout != nil && rollout.version == slot.Version {
		settings, release = rollout.settings, rollout.release
	}
	dea, ok := c.deas.place(a.guid, settings.MemoryMB, settings.DiskMB, c.cfg.Stack, now)
	if !ok {
		if rollout != nil && rollout.starved.IsZero() {
			rollout.starved = now
		}
		c.tellOnce(now, Event{Kind: "instance.unplaced", App: a.Name, Index: &slot.Index, Text: noRoom(settings)})
		// What is remembered may be older than the last end of an instance; ask, for the next look.
		if err := messaging.DEALocate.Publish(c.conn, messaging.Signal{}); err != nil {
			c.log.Warn("controller.ask.failed", "subject", string(messaging.DEALocate), "error", err)
		}
		return
	}
	message := c.startMessage(a, settings, release, slot.Index)
	if err := messaging.DEAStart(dea).Publish(c.conn, message); err != nil {
		c.log.Warn("controller.start.failed", "app", a.Name, "error", err)
		return
	}
	if rollout != nil {
		rollout.starved = time.Time{}
	}
	c.monitor.Starting(slot.App, slot.Version, slot.Index, now)
	c.tell(Event{Kind: "instance.placed", App: a.Name, Index: &slot.Index, DEA: dea})
}

func (c *Controller) startMessage(a *app, s Settings, r release, index int) messaging.StartMessage {
	routed := &app{Settings: s}
	uris := routed.routes(c.cfg.Domain)
	return messaging.StartMessage{
		Droplet: messaging.Text(a.guid), Index: index, Name: a.Name, Version: r.version, URIs: uris,
		CCPartition: "default", Limits: s.limits(), SHA1: r.sha1, ExecutableURI: c.blobs.DropletURL(a.guid, r.sha1),
		Env: s.Env, Services: messaging.Services{}, StartCommand: s.startCommand(), Stack: c.cfg.Stack,
		EgressNetworkRules: publicNetworks(), Runtime: s.wantedRuntime(),
		VCAPApplication: map[string]json.RawMessage{
			"application_id": quoted(a.guid), "application_name": quoted(a.Name), "name": quoted(a.Name),
			"application_version": quoted(r.version), "version": quoted(r.version),
			"application_uris": quoted(uris), "uris": quoted(uris), "limits": quoted(s.limits()), "users": json.RawMessage("null"),
		},
	}
}

// quoted is the JSON of strings and numbers, which always have one.
func quoted(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// stopInstance has one instance stopped, and says why. Instances that do not go are told again after a while.
func (c *Controller) stopInstance(f heartbeat.Extra, now time.Time) {
	if now.Sub(c.told[f.Instance]) < 5*time.Second {
		return
	}
	c.told[f.Instance] = now
	err := messaging.DEAStop.Publish(c.conn, messaging.StopMessage{
		Filter: messaging.Filter{Droplet: messaging.Text(f.App), Instances: messaging.Texts{f.Instance}},
	})
	if err != nil {
		c.log.Warn("controller.stop.failed", "error", err)
		return
	}
	c.tell(Event{Kind: "instance.stopping", App: c.nameOf(f.App), Index: &f.Index, DEA: f.DEA, Text: cmp.Or(string(f.Reason), "not wanted")})
}

// tellOnce tells of a lasting problem twice a minute.
func (c *Controller) tellOnce(now time.Time, e Event) {
	key := fmt.Sprint(e.Kind, e.App, *e.Index)
	if now.Sub(c.told[key]) < 30*time.Second {
		return
	}
	c.told[key] = now
	c.tell(e)
	for key, at := range c.told {
		if now.Sub(at) > time.Minute {
			delete(c.told, key)
		}
	}
}
