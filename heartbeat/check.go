package heartbeat

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/deakit/deakit/messaging"
)

// Check compares what is known with what is wanted. The findings are sorted by app, version, index, kind (missing,
// evacuating, extra) and guid. While the picture is not fresh, nothing is reported as missing; the other findings
// rest on instances that are known to live.
//
// desired is the whole wish: instances of apps that it does not name are extra. Two entries for the same version count
// as the greater one.
func (m *Monitor) Check(desired []Desired, now time.Time) []Finding {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prune(now)
	c := check{m: m, now: now, wanted: map[string]map[string]int{}, slots: map[Slot][]live{}}
	for _, d := range desired {
		if c.wanted[d.App] == nil {
			c.wanted[d.App] = map[string]int{}
		}
		c.wanted[d.App][d.Version] = max(c.wanted[d.App][d.Version], d.Instances)
	}
	c.sort()
	c.wantedSlots()
	c.otherSlots()
	m.missing = c.missing
	sortFindings(c.findings)
	return c.findings
}

// check is the work of one Check.
type check struct {
	m        *Monitor
	now      time.Time
	wanted   map[string]map[string]int // app, version: instances
	slots    map[Slot][]live
	missing  map[Slot]time.Time
	findings []Finding
}

// live is an instance that is not dead.
type live struct {
	*record
	dea string
}

// sort puts living instances into their slots, the one to keep first: running before starting before evacuating, and
// among equals the one that has been so for longest.
func (c *check) sort() {
	for _, d := range c.m.deas {
		for _, r := range d.instances {
			if r.state != messaging.Crashed {
				c.slots[r.Slot] = append(c.slots[r.Slot], live{r, d.id})
			}
		}
	}
	for _, instances := range c.slots {
		slices.SortFunc(instances, func(a, b live) int {
			return cmp.Or(cmp.Compare(rank(a.state), rank(b.state)), a.since.Compare(b.since), strings.Compare(a.guid, b.guid))
		})
	}
}

func rank(s messaging.State) int {
	return slices.Index([]messaging.State{messaging.Running, messaging.Starting, messaging.Evacuating}, s)
}

func (c *check) wantedSlots() {
	c.missing = map[Slot]time.Time{}
	fresh := c.m.fresh(c.now)
	for app, versions := range c.wanted {
		for version, instances := range versions {
			for index := range instances {
				slot := Slot{app, version, index}
				_, asked := c.m.asked[slot] // those past their grace have been pruned
				switch here := c.slots[slot]; {
				case len(here) > 0:
					c.occupied(slot, here, asked)
				case fresh && !asked:
					c.lacking(slot)
				}
			}
		}
	}
}

func (c *check) lacking(slot Slot) {
	since, ok := c.m.missing[slot]
	if !ok {
		since = c.now
	}
	c.missing[slot] = since
	c.findings = append(c.findings, Missing{slot, since, c.m.backoff(slot)})
}

// occupied judges a wanted slot that has instances: here[0] is kept.
func (c *check) occupied(slot Slot, here []live, asked bool) {
	keep := here[0]
	if keep.state == messaging.Evacuating && !asked {
		c.findings = append(c.findings, Evacuating{slot, keep.guid, keep.dea, c.m.backoff(slot)})
	}
	spared := false
	for _, other := range here[1:] {
		switch {
		case other.state != messaging.Evacuating || keep.state == messaging.Evacuating:
			c.extra(other, Duplicate)
		case keep.state == messaging.Running:
			c.extra(other, Replaced)
		case spared:
			c.extra(other, Duplicate)
		default:
			spared = true // it serves until the replacement does
		}
	}
}

// otherSlots judges the instances that stand in no wanted slot.
func (c *check) otherSlots() {
	for slot, here := range c.slots {
		versions, appWanted := c.wanted[slot.App]
		if slot.Index < versions[slot.Version] {
			continue
		}
		inRange, replaced := false, false
		for version, instances := range versions {
			if slot.Index >= instances {
				continue
			}
			inRange = true
			if others := c.slots[Slot{slot.App, version, slot.Index}]; len(others) > 0 && others[0].state == messaging.Running {
				replaced = true
			}
		}
		for _, instance := range here {
			switch {
			case !appWanted:
				c.extra(instance, NotWanted)
			case !inRange:
				c.extra(instance, IndexTooHigh)
			case replaced:
				c.extra(instance, OldVersion)
			}
		}
	}
}

func (c *check) extra(l live, reason Reason) {
	c.findings = append(c.findings, Extra{l.Slot, l.guid, l.dea, reason})
}

func (m *Monitor) backoff(slot Slot) Backoff {
	c := m.crashes[slot]
	if c == nil {
		return Backoff{}
	}
	b := Backoff{Crashes: c.count}
	if c.count > m.cfg.FreeCrashes {
		delay := min(m.cfg.FirstDelay, m.cfg.MaxDelay)
		for n := m.cfg.FreeCrashes + 1; n < c.count && delay < m.cfg.MaxDelay; n++ {
			delay = min(2*delay, m.cfg.MaxDelay)
		}
		b.NotBefore = c.last.Add(delay)
	}
	return b
}
