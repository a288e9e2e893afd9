package heartbeat

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deakit/deakit/messaging"
)

// Config of a Monitor. The zero Config has the times of HM9000 with heartbeats every 10 s.
type Config struct {
	// TTL is how long an instance counts as alive after the last heartbeat of its DEA. Default 30 s, three heartbeats.
	TTL time.Duration

	// Settle is how long heartbeats must have come, with no silence of TTL between any two, before Check trusts its
	// picture and reports what is missing. It keeps a Monitor that was just started, or was cut off from all DEAs,
	// from starting everything a second time. Default TTL; negative trusts the picture always.
	Settle time.Duration

	// Grace is how long a slot is not missing after Starting. Default 30 s: a DEA lists an instance as STARTING with
	// its next heartbeat, 10 s later at most, and two heartbeats may be lost. However long the start itself takes, it is
	// then seen. A refusal needs no waiting: it arrives as an exit.
	Grace time.Duration

	// Slots that crashed FreeCrashes times or less are due at once. After that the delay is FirstDelay, doubled by each
	// further crash up to MaxDelay. Defaults 2, 30 s, 960 s (HM9000). Negative FreeCrashes means 0.
	FreeCrashes int
	FirstDelay  time.Duration
	MaxDelay    time.Duration

	// Healthy is how long an instance must have been running for the crashes of its slot to be forgotten. Default
	// 10 min. They are also forgotten when nothing crashed for Healthy plus twice MaxDelay.
	Healthy time.Duration
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.TTL, 30 * time.Second},
		{&c.Grace, 30 * time.Second},
		{&c.FirstDelay, 30 * time.Second},
		{&c.MaxDelay, 960 * time.Second},
		{&c.Healthy, 10 * time.Minute},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.Settle == 0 {
		c.Settle = c.TTL
	}
	if c.FreeCrashes == 0 {
		c.FreeCrashes = 2
	}
	c.FreeCrashes = max(c.FreeCrashes, 0)
	return c
}

// A Monitor knows the instances of a platform. Its methods may be called from several goroutines at once; times should
// not run backwards from one call to the next.
type Monitor struct {
	cfg Config

	mu      sync.Mutex
	deas    map[string]*dea
	owner   map[string]*dea       // by instance guid: the DEA that named it last
	ends    map[string]*end       // by instance guid
	crashes map[Slot]*crashRecord // only slots that crashed
	asked   map[Slot]time.Time    // when Starting was called
	missing map[Slot]time.Time    // since when, as of the last Check
	last    time.Time             // heartbeat of any DEA
	steady  time.Time             // since when heartbeats have come without a silence
	pruned  time.Time
}

type dea struct {
	id        string
	seen      time.Time
	instances map[string]*record // by guid
}

type record struct {
	Slot
	guid      string
	state     messaging.State
	since     time.Time // of the state, by the DEA's clock
	upSince   time.Time // when it was first seen running, by ours; zero while it is not
	countable bool      // was seen alive: a crash that follows is news
}

// An end is what an exit message, or a CRASHED in a heartbeat, said about an instance. It outlives the record: heartbeats
// that were sent earlier and arrive later must not bring the instance back.
type end struct {
	state messaging.State // Crashed, Evacuating or Stopped
	named time.Time       // the guid was last heard of
}

type crashRecord struct {
	count int
	last  time.Time
}

// NewMonitor returns a Monitor that knows nothing yet.
func NewMonitor(cfg Config) *Monitor {
	return &Monitor{
		cfg:     cfg.withDefaults(),
		deas:    map[string]*dea{},
		owner:   map[string]*dea{},
		ends:    map[string]*end{},
		crashes: map[Slot]*crashRecord{},
		asked:   map[Slot]time.Time{},
		missing: map[Slot]time.Time{},
	}
}

// Heartbeat takes a heartbeat. Its list replaces all that was known of this DEA. An instance that another DEA named
// before goes over to this one: a DEA that is restarted keeps its instances and draws a new id (dea_ng).
func (m *Monitor) Heartbeat(beat messaging.Heartbeat, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last.IsZero() || now.Sub(m.last) >= m.cfg.TTL {
		m.steady = now
	}
	m.last = now
	if now.Sub(m.pruned) >= m.cfg.TTL {
		m.prune(now)
	}

	d := &dea{id: beat.DEA, seen: now, instances: make(map[string]*record, len(beat.Droplets))}
	for _, inst := range beat.Droplets {
		if r := m.recordOf(inst, now); r != nil {
			d.instances[inst.Instance] = r
		}
	}
	m.forget(beat.DEA)
	for guid := range d.instances {
		if previous := m.owner[guid]; previous != nil {
			delete(previous.instances, guid)
		}
		m.owner[guid] = d
	}
	m.deas[beat.DEA] = d
}

// recordOf makes the new record of an instance from what a heartbeat says and what was known; nil means that it does not
// count any more.
func (m *Monitor) recordOf(inst messaging.Instance, now time.Time) *record {
	r := &record{
		Slot:  Slot{string(inst.Droplet), inst.Version, inst.Index},
		guid:  inst.Instance,
		since: inst.StateTimestamp.Time(),
	}
	switch inst.State {
	case messaging.Born, messaging.Resuming, messaging.Starting:
		r.state = messaging.Starting
	case messaging.Running, messaging.Evacuating, messaging.Crashed:
		r.state = inst.State
	default:
		return nil
	}
	var old *record
	if d := m.owner[r.guid]; d != nil {
		old = d.instances[r.guid]
	}
	r.countable = r.state != messaging.Crashed || old != nil && old.countable

	if e := m.ends[r.guid]; e != nil {
		e.named = now
		if e.state == messaging.Stopped {
			return nil
		}
		if r.state != messaging.Crashed {
			r.state = e.state
		}
	}
	switch r.state {
	case messaging.Crashed:
		at := now
		if !r.countable && inst.StateTimestamp > 0 && r.since.Before(now) {
			at = r.since // it crashed before we listened
		}
		m.crashed(r.Slot, r.guid, at, now)
		return r
	case messaging.Running:
		r.upSince = now
		if old != nil && !old.upSince.IsZero() {
			r.upSince = old.upSince
		}
		if now.Sub(r.upSince) >= m.cfg.Healthy {
			delete(m.crashes, r.Slot)
		}
	}
	if old == nil && r.state != messaging.Evacuating {
		delete(m.asked, r.Slot) // this is the one that was asked for
	}
	return r
}

// crashed counts the crash of an instance, once.
func (m *Monitor) crashed(slot Slot, guid string, at, now time.Time) {
	if e := m.ends[guid]; e != nil && e.state == messaging.Crashed {
		return
	}
	m.ends[guid] = &end{messaging.Crashed, now}
	if now.Sub(at) >= m.crashMemory() {
		return
	}
	c := m.crashes[slot]
	if c == nil {
		c = &crashRecord{}
		m.crashes[slot] = c
	}
	c.count++
	if at.After(c.last) {
		c.last = at
	}
	if asked, ok := m.asked[slot]; ok && !at.Before(asked) {
		delete(m.asked, slot)
	}
}

// Exited takes an exit message. An instance that crashed is counted and stays dead even when a heartbeat that was
// sent before arrives after. DEA_EVACUATION marks it as evacuating; any other reason says that it is gone.
func (m *Monitor) Exited(exit messaging.Exit, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	slot := Slot{string(exit.Droplet), exit.Version, exit.Index}
	state := messaging.Stopped
	switch {
	case strings.EqualFold(exit.Reason, messaging.ReasonCrashed):
		state = messaging.Crashed
		m.crashed(slot, exit.Instance, now, now)
	case strings.EqualFold(exit.Reason, messaging.ReasonEvacuation):
		if m.ends[exit.Instance] != nil {
			return // it is known to evacuate, or dead already
		}
		state = messaging.Evacuating
	}
	m.ends[exit.Instance] = &end{state, now}
	d := m.owner[exit.Instance]
	if d == nil {
		return
	}
	if state == messaging.Stopped {
		delete(d.instances, exit.Instance)
		delete(m.owner, exit.Instance)
		return
	}
	r := d.instances[exit.Instance]
	r.state, r.since, r.upSince = state, now, time.Time{}
}

// Starting says that an instance was just asked to be started. The slot is not missing for Config.Grace from now,
// unless the instance is seen, and lost, before.
func (m *Monitor) Starting(app, version string, index int, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked[Slot{app, version, index}] = now
}

// Forget drops a DEA and its instances without waiting for the TTL: somebody knows that the machine is gone.
//
// It is not the answer to [messaging.DEAShutdown]. That message withdraws the offer of a DEA, and comes first in an
// evacuation: the instances run on, some for minutes, and go on being listed until replacements run.
func (m *Monitor) Forget(dea string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(dea)
}

func (m *Monitor) forget(id string) {
	d := m.deas[id]
	if d == nil {
		return
	}
	delete(m.deas, id)
	for guid := range d.instances {
		delete(m.owner, guid)
	}
}

// Fresh tells whether the picture is to be trusted; see [Config.Settle].
func (m *Monitor) Fresh(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fresh(now)
}

func (m *Monitor) fresh(now time.Time) bool {
	if m.cfg.Settle < 0 {
		return true
	}
	return !m.last.IsZero() && now.Sub(m.last) < m.cfg.TTL && now.Sub(m.steady) >= m.cfg.Settle
}

// Instances returns what is known of an app's instances, crashed ones included, by version, index and guid.
func (m *Monitor) Instances(app string, now time.Time) []Instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []Instance
	for _, d := range m.deas {
		if now.Sub(d.seen) >= m.cfg.TTL {
			continue
		}
		for _, r := range d.instances {
			if r.App == app {
				found = append(found, Instance{r.Slot, r.guid, d.id, r.state, r.since, d.seen})
			}
		}
	}
	slices.SortFunc(found, func(a, b Instance) int {
		if c := a.compare(b.Slot); c != 0 {
			return c
		}
		return strings.Compare(a.Instance, b.Instance)
	})
	return found
}

func (m *Monitor) crashMemory() time.Duration { return m.cfg.Healthy + 2*m.cfg.MaxDelay }

// prune drops what time has made irrelevant, so that nothing grows with the age of the process.
func (m *Monitor) prune(now time.Time) {
	m.pruned = now
	for id, d := range m.deas {
		if now.Sub(d.seen) >= m.cfg.TTL {
			m.forget(id)
		}
	}
	for slot, c := range m.crashes {
		if now.Sub(c.last) >= m.crashMemory() {
			delete(m.crashes, slot)
		}
	}
	for guid, e := range m.ends {
		if now.Sub(e.named) >= m.crashMemory() {
			delete(m.ends, guid)
		}
	}
	for slot, at := range m.asked {
		if now.Sub(at) >= m.cfg.Grace {
			delete(m.asked, slot)
		}
	}
}
