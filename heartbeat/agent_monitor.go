package heartbeat

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/deakit/deakit/messaging"
)

// AgentMonitorConfig is the configuration of an AgentMonitor. The zero one has the times of the BOSH health monitor.
type AgentMonitorConfig struct {
	// Timeout is how long an agent may be silent before it is lost. Default 60 s (agent_timeout), two heartbeats.
	Timeout time.Duration

	// Rogue is how long an agent that no list names may speak before it is told as rogue. Default 120 s (rogue_agent_alert): a list
	// may be as old as that.
	Rogue time.Duration

	// Leaving is how long after its shutdown event the silence of an agent is no loss. Default 15 min: the event comes when the
	// drain begins, and heartbeats go on until the machine is gone. Heartbeats after that time say that it stays (bosh stop).
	Leaving time.Duration

	// Memory is how long a lost agent is remembered that no list names, from its loss on. Default 1 h.
	Memory time.Duration

	// MaxUnlisted bounds the agents that are known and that no list names, whoever says to be one. Default 10,000. Lost ones make
	// room for others, then those are refused with ErrTooManyAgents. Listed agents always have their place.
	MaxUnlisted int
}

func (c AgentMonitorConfig) withDefaults() AgentMonitorConfig {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Timeout, time.Minute},
		{&c.Rogue, 2 * time.Minute},
		{&c.Leaving, 15 * time.Minute},
		{&c.Memory, time.Hour},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.MaxUnlisted <= 0 {
		c.MaxUnlisted = 10_000
	}
	return c
}

const (
	maxAgentID     = 256         // bytes; ids are UUIDs
	alertsPerAgent = 64          // ids that are remembered: more than monit tells in the 2 s in which Ruby agents repeat themselves
	pruneWhenFull  = time.Second // between attempts to make room
)

// ErrTooManyAgents: there is no room for another agent that no list names; see [AgentMonitorConfig.MaxUnlisted].
var ErrTooManyAgents = errors.New("too many agents")

// An AgentMonitor knows the agents of BOSH machines, as the BOSH health monitor does: it is fed with what they tell, and with the
// list of those that should be there. Like [Monitor] it is data and rules only, and starts nothing; [AgentReceiver] feeds one from
// NATS. Its methods may be called from several goroutines at once; times should not run backwards from one call to the next.
//
// Until [AgentMonitor.Manage] is called, every agent that was heard is expected to go on. Then those of the list are, and others
// are nobody's loss: they are told as rogue while they speak, and forgotten when they fall silent.
type AgentMonitor struct {
	cfg  AgentMonitorConfig
	seed maphash.Seed // drawn anew, so that nobody can make two alerts look the same

	mu     sync.Mutex
	agents map[string]*agent
	listed int  // how many of agents are listed
	lists  bool // there has been a list
	pruned time.Time
}

type agent struct {
	id      string
	listed  bool
	beat    messaging.AgentHeartbeat // the last one
	known   time.Time                // since when it is here, or has been listed, or not listed any more
	seen    time.Time                // the last heartbeat came; zero before the first
	excused time.Time                // until when nobody could hear it
	left    time.Time                // its last shutdown event; zero when there was none
	alerts  []uint64                 // hashes of the last ids, a ring
	oldest  int                      // place of the oldest one, once the ring is full
}

// NewAgentMonitor returns an AgentMonitor that knows nobody yet.
func NewAgentMonitor(cfg AgentMonitorConfig) *AgentMonitor {
	return &AgentMonitor{cfg: cfg.withDefaults(), seed: maphash.MakeSeed(), agents: map[string]*agent{}}
}

// Heartbeat takes a heartbeat of the agent of this id, the last part of the subject. It keeps what beat points to, which must not
// be changed any more; its size is the caller's concern. It fails for an id that cannot be one, or with ErrTooManyAgents.
func (m *AgentMonitor) Heartbeat(id string, beat messaging.AgentHeartbeat, now time.Time) (AgentBeat, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, err := m.agent(id, now)
	if err != nil {
		return AgentBeat{}, err
	}
	before := m.status(a, now)
	a.beat, a.seen = beat, now
	return AgentBeat{m.status(a, now), before}, nil
}

// Alert takes an alert, which is no sign of life. It tells whether this is the first one of the agent with this id; the last 64
// ids are known. (The original compares the ids of all agents. Those of monit are times, and two machines may share one.)
// It fails as Heartbeat does.
func (m *AgentMonitor) Alert(id string, alert messaging.AgentAlert, now time.Time) (event AgentAlerted, first bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, err := m.agent(id, now)
	if err != nil {
		return AgentAlerted{}, false, err
	}
	return AgentAlerted{m.status(a, now), alert}, a.remember(maphash.String(m.seed, alert.ID)), nil
}

// remember tells whether an alert is new.
func (a *agent) remember(alert uint64) bool {
	switch {
	case slices.Contains(a.alerts, alert):
		return false
	case len(a.alerts) < alertsPerAgent:
		a.alerts = append(a.alerts, alert)
	default:
		a.alerts[a.oldest] = alert
		a.oldest = (a.oldest + 1) % alertsPerAgent
	}
	return true
}

// Shutdown takes a shutdown event: the agent is leaving, and its silence is no loss for [AgentMonitorConfig.Leaving]. It tells
// whether that is news: it is not for an agent that nobody knows, or that said so before.
func (m *AgentMonitor) Shutdown(id string, now time.Time) (event AgentLeft, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.agents[id]
	if a == nil || m.gone(a, now) {
		return AgentLeft{}, false
	}
	first = !m.leaving(a)
	a.left = now
	return AgentLeft{m.status(a, now)}, first
}

// Manage says which agents should be there: those of all instances that have a machine, as a director lists them. It replaces the
// list of before. An agent that is new to it has Timeout to be heard.
func (m *AgentMonitor) Manage(ids []string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prune(now, false)
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
		if m.agents[id] == nil {
			m.agents[id] = &agent{id: id, known: now}
		}
	}
	for id, a := range m.agents {
		switch {
		case !wanted[id] && !now.Before(m.silentAt(a)):
			m.drop(a)
		case a.listed != wanted[id] || !m.lists:
			a.listed, a.known = wanted[id], now
		}
	}
	m.lists, m.listed = true, len(wanted)
}

// Forget drops an agent, listed or not: somebody knows that its machine is gone. The next list may name it again.
func (m *AgentMonitor) Forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a := m.agents[id]; a != nil {
		m.drop(a)
	}
}

// Deaf says that nothing could be heard from one time to the other: whoever was not lost before has Timeout from then on.
func (m *AgentMonitor) Deaf(from, to time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.agents {
		if from.Before(m.lostAt(a)) {
			a.excused = to
		}
	}
}

// agent returns the record of an agent that has been heard.
func (m *AgentMonitor) agent(id string, now time.Time) (*agent, error) {
	if !messaging.IsToken(id) || len(id) > maxAgentID {
		return nil, fmt.Errorf("%.40q is no id of an agent: want a part of a subject of at most %d bytes", id, maxAgentID)
	}
	if now.Sub(m.pruned) >= m.cfg.Timeout {
		m.prune(now, false)
	}
	a := m.agents[id]
	if a != nil && m.gone(a, now) {
		m.drop(a)
		a = nil
	}
	if a != nil {
		return a, nil
	}
	if m.full() && now.Sub(m.pruned) >= pruneWhenFull {
		m.prune(now, true)
	}
	if m.full() {
		return nil, fmt.Errorf("%w: %d are known that no list names; raise AgentMonitorConfig.MaxUnlisted, or name them with Manage",
			ErrTooManyAgents, m.cfg.MaxUnlisted)
	}
	a = &agent{id: id, known: now}
	m.agents[id] = a
	return a, nil
}

func (m *AgentMonitor) full() bool { return len(m.agents)-m.listed >= m.cfg.MaxUnlisted }

func (m *AgentMonitor) drop(a *agent) {
	delete(m.agents, a.id)
	if a.listed {
		m.listed--
	}
}

// prune drops whom nobody asks for any more; to make room, also those that are lost and not listed.
func (m *AgentMonitor) prune(now time.Time, room bool) {
	m.pruned = now
	for _, a := range m.agents {
		if m.gone(a, now) || room && !a.listed && m.life(a, now) == Lost {
			m.drop(a)
		}
	}
}
