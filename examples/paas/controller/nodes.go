package controller

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
)

const (
	// quiet is how long nothing may come of a DEA that lives: heartbeats come every 10 s, advertisements every 5 s.
	quiet = 11 * time.Second

	// farewell is how long after a good-bye a heartbeat without instances is the last one of a DEA that ends.
	farewell = time.Minute

	// straggling is how long after its last heartbeat another one may come of a DEA that has left.
	straggling = 5 * time.Second
)

// A node is what is known of a DEA.
type node struct {
	id        string
	heard     time.Time            // of it last
	offered   time.Time            // it advertised last
	goodbye   time.Time            // it said good-bye; zero when it did not
	left      time.Time            // it was told to have left
	instances []messaging.Instance // of its last heartbeat
}

// The states of a DEA. Silent is followed by since when.
const (
	nodeOK          = "ok"
	nodeLeaving     = "leaving"      // it wants its instances replaced
	nodeNotOffering = "not offering" // it takes no new instances; those that it has go on
	nodeSilent      = "silent since "
)

func (n *node) state(now time.Time) string {
	switch {
	case now.Sub(n.heard) > quiet:
		return nodeSilent + n.heard.Format(time.TimeOnly)
	case slices.ContainsFunc(n.instances, func(i messaging.Instance) bool { return i.State == messaging.Evacuating }):
		return nodeLeaving
	case !n.goodbye.IsZero(), now.Sub(n.offered) > offerLifetime:
		return nodeNotOffering
	default:
		return nodeOK
	}
}

// hear notes a sign of life of a DEA, and tells of one that is new; c.mu is held.
func (c *Controller) hear(id string, now time.Time) *node {
	n, ok := c.nodes[id]
	if !ok {
		n = &node{id: id}
		c.nodes[id] = n
		c.tell(Event{Kind: "dea.joined", DEA: id})
	}
	n.heard = now
	return n
}

// beaten takes the list of a heartbeat in, and sees whether the DEA has left.
func (c *Controller) beaten(m messaging.Heartbeat, now time.Time) {
	n := c.hear(m.DEA, now)
	n.instances = slices.Clone(m.Droplets)
	for _, i := range m.Droplets {
		if i.State != messaging.Crashed {
			c.lived[heartbeat.Slot{App: string(i.Droplet), Version: i.Version, Index: i.Index}] = m.DEA
		}
	}
	if !n.left.IsZero() && now.Sub(n.left) > straggling {
		n.left = time.Time{} // it only offers nothing any more
	}
	if alive(m) || n.goodbye.IsZero() || !n.left.IsZero() || now.Sub(n.goodbye) > farewell {
		return
	}
	n.left = now
	c.monitor.Forget(m.DEA)
	c.tell(Event{Kind: "dea.left", DEA: m.DEA})
}

// crashed marks an instance; heartbeats will say so later. c.mu is held.
func (c *Controller) crashed(instance string) {
	for _, n := range c.nodes {
		for k := range n.instances {
			if n.instances[k].Instance == instance {
				n.instances[k].State = messaging.Crashed
			}
		}
	}
}

// alive tells whether a heartbeat lists an instance that is more than a memory.
func alive(m messaging.Heartbeat) bool {
	return slices.ContainsFunc(m.Droplets, func(i messaging.Instance) bool { return i.State != messaging.Crashed })
}

// bidFarewell takes a good-bye in, of which several may come.
func (c *Controller) bidFarewell(id string) {
	delete(c.deas, id)
	delete(c.stagers, id)
	if n, known := c.nodes[id]; known {
		if n.goodbye.IsZero() {
			c.tell(Event{Kind: "dea.leaving", DEA: id, Text: "takes no new instances"})
		}
		n.goodbye = time.Now()
	}
}

// bury gives up DEAs of which nothing came for too long.
func (c *Controller) bury(now time.Time) {
	for id, n := range c.nodes {
		if now.Sub(n.heard) < c.cfg.Silence {
			continue
		}
		delete(c.nodes, id)
		delete(c.deas, id)
		c.monitor.Forget(id)
		if n.left.IsZero() {
			c.tell(Event{Kind: "dea.lost", DEA: id, Text: nodeSilent + n.heard.Format(time.TimeOnly)})
		}
	}
}

// missed tells of an instance that vanished without a word; c.mu is held.
func (c *Controller) missed(slot heartbeat.Slot) {
	dea, lived := c.lived[slot]
	if !lived {
		return
	}
	delete(c.lived, slot)
	c.tell(Event{
		Kind: "instance.missing", App: c.nameOf(slot.App), Index: &slot.Index, DEA: dea, Text: "not heard of any more",
	})
}

// A DEAView is what the API tells of a DEA.
type DEAView struct {
	ID        string         `json:"id"`
	State     string         `json:"state"`               // "ok", "leaving", "not offering", or "silent since 15:04:05"
	MemoryMB  int64          `json:"available_memory_mb"` // 0 when it offers nothing
	DiskMB    int64          `json:"available_disk_mb"`
	Zone      string         `json:"zone"`
	Instances map[string]int `json:"instances"` // by the name of the app
	Crashed   map[string]int `json:"crashed"`   // whose files are kept, by the name of the app
}

// DEAs lists the DEAs of which something was heard lately.
func (c *Controller) DEAs() []DEAView {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, views := time.Now(), []DEAView{}
	for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
		n := c.nodes[id]
		if !n.left.IsZero() {
			continue
		}
		v := DEAView{ID: id, State: n.state(now), Instances: map[string]int{}, Crashed: map[string]int{}}
		if o := c.deas[id]; o != nil {
			v.MemoryMB, v.DiskMB, v.Zone = o.memory, o.disk, o.zone
		}
		for _, i := range n.instances {
			if i.State == messaging.Crashed {
				v.Crashed[c.nameOf(string(i.Droplet))]++
			} else {
				v.Instances[c.nameOf(string(i.Droplet))]++
			}
		}
		views = append(views, v)
	}
	return views
}

// An Evacuation is what the API tells of one that began.
type Evacuation struct {
	DEA       string `json:"dea"`
	Instances int    `json:"instances"` // that have to go elsewhere
}

// Evacuate tells a DEA, by its id or the beginning of it, to leave. The last one that offers anything is told only with
// force: its apps would have nowhere to go.
func (c *Controller) Evacuate(dea string, force bool) (Evacuation, error) {
	n, err := c.toEvacuate(dea, force, time.Now())
	if err != nil {
		return Evacuation{}, fmt.Errorf("DEA %s: %w", cmp.Or(n.id, dea), err)
	}
	switch {
	case c.cfg.Evacuate == nil || !c.cfg.Evacuate(n.id):
		return Evacuation{}, fmt.Errorf("DEA %s: %w", n.id, ErrElsewhere)
	case !n.goodbye.IsZero():
		return Evacuation{}, fmt.Errorf("DEA %s: %w", n.id, ErrLeaving)
	}
	c.tell(Event{Kind: "dea.evacuating", DEA: n.id})
	living := slices.DeleteFunc(slices.Clone(n.instances), func(i messaging.Instance) bool { return i.State == messaging.Crashed })
	return Evacuation{DEA: n.id, Instances: len(living)}, nil
}

func (c *Controller) toEvacuate(dea string, force bool, now time.Time) (node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []*node
	others := 0
	for id, n := range c.nodes {
		switch {
		case dea != "" && strings.HasPrefix(id, dea) && n.left.IsZero():
			found = append(found, n)
		case n.state(now) == nodeOK:
			others++
		}
	}
	switch {
	case len(found) == 0:
		return node{}, ErrNoDEA
	case len(found) > 1:
		return node{}, ErrAmbiguous
	case others == 0 && !force && found[0].goodbye.IsZero():
		return *found[0], ErrLastDEA
	}
	return *found[0], nil
}
