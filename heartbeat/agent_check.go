package heartbeat

import (
	"slices"
	"strings"
	"time"
)

// Check returns which agents are lost, and which are rogue, by id. Both are told by each Check until the agent is heard again, or
// is listed, or dropped from the list, or forgotten: whoever acts on them may fail and try again.
func (m *AgentMonitor) Check(now time.Time) []AgentFinding {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prune(now, false)
	var found []AgentFinding
	for _, a := range m.agents {
		if m.life(a, now) == Lost {
			found = append(found, AgentLost{m.status(a, now), m.lostAt(a)})
		} else if at, ok := m.rogueAt(a); ok && !now.Before(at) {
			found = append(found, AgentRogue{m.status(a, now), at})
		}
	}
	slices.SortFunc(found, func(a, b AgentFinding) int { return strings.Compare(a.Status().ID, b.Status().ID) })
	return found
}

// Agents returns what is known of all agents, by id.
func (m *AgentMonitor) Agents(now time.Time) []AgentStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []AgentStatus
	for _, a := range m.agents {
		if !m.gone(a, now) {
			found = append(found, m.status(a, now))
		}
	}
	slices.SortFunc(found, func(a, b AgentStatus) int { return strings.Compare(a.ID, b.ID) })
	return found
}

// Agent returns what is known of one agent, and whether anything is.
func (m *AgentMonitor) Agent(id string, now time.Time) (AgentStatus, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.agents[id]
	if a == nil || m.gone(a, now) {
		return AgentStatus{}, false
	}
	return m.status(a, now), true
}

func (m *AgentMonitor) status(a *agent, now time.Time) AgentStatus {
	status := AgentStatus{ID: a.id, Listed: a.listed, Life: m.life(a, now), Beat: a.beat, Known: a.known, Seen: a.seen}
	if m.leaving(a) {
		status.Left = a.left
	}
	return status
}

// life is told of agents that are not gone.
func (m *AgentMonitor) life(a *agent, now time.Time) AgentLife {
	switch {
	case m.expected(a) && !now.Before(m.lostAt(a)):
		return Lost
	case m.leaving(a):
		return Leaving
	case a.seen.IsZero():
		return Awaited
	}
	return Alive
}

// expected tells whether anybody misses an agent that falls silent.
func (m *AgentMonitor) expected(a *agent) bool { return a.listed || !m.lists }

// leaving tells whether an agent said that it goes, and no heartbeat said later that it stays.
func (m *AgentMonitor) leaving(a *agent) bool {
	return !a.left.IsZero() && a.seen.Before(a.left.Add(m.cfg.Leaving))
}

// silentAt is when an agent that is not heard any more has been silent for too long.
func (m *AgentMonitor) silentAt(a *agent) time.Time {
	return latest(a.seen, a.known, a.excused).Add(m.cfg.Timeout)
}

// lostAt is when that is a loss, if the agent is expected.
func (m *AgentMonitor) lostAt(a *agent) time.Time {
	if m.leaving(a) {
		return latest(m.silentAt(a), a.left.Add(m.cfg.Leaving))
	}
	return m.silentAt(a)
}

// rogueAt is when an agent that speaks is rogue, if it ever is.
func (m *AgentMonitor) rogueAt(a *agent) (at time.Time, ever bool) {
	at = a.known.Add(m.cfg.Rogue)
	if !a.left.IsZero() {
		at = latest(at, a.left.Add(m.cfg.Leaving))
	}
	return at, m.lists && !a.listed
}

// gone tells whether an agent is one to forget: no list names it, and it fell silent where nobody misses it, or left, or was lost
// long ago.
func (m *AgentMonitor) gone(a *agent, now time.Time) bool {
	if a.listed || now.Before(m.silentAt(a)) {
		return false
	}
	return m.lists || m.leaving(a) || now.Sub(m.lostAt(a)) >= m.cfg.Memory
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }
