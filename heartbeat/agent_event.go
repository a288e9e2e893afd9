package heartbeat

import (
	"time"

	"github.com/deakit/deakit/messaging"
)

// An AgentStatus is what an [AgentMonitor] knows of an agent. What it points to must not be changed.
type AgentStatus struct {
	ID     string
	Listed bool // the last list of Manage names it
	Life   AgentLife

	// Beat is the last heartbeat: state of the jobs, number of processes, vitals. The zero one before the first. What it says
	// about deployment, job and index is what the agent thinks; the director knows.
	Beat messaging.AgentHeartbeat

	Known time.Time // since when it is known, or has been listed, or has not been any more
	Seen  time.Time // its last heartbeat, by the clock of the caller; zero before the first
	Left  time.Time // its shutdown event; zero when it stays
}

// Healthy tells whether the agent lives and all its processes run: what the BOSH health monitor gives to the world as
// system.healthy.
func (s AgentStatus) Healthy() bool {
	return (s.Life == Alive || s.Life == Leaving) && s.Beat.JobState == messaging.JobRunning
}

// Status implements [AgentEvent].
func (s AgentStatus) Status() AgentStatus { return s }

// AgentLife tells how alive an agent is.
type AgentLife string

// The lives.
const (
	Awaited AgentLife = "awaited" // no heartbeat has come yet, and there is time
	Alive   AgentLife = "alive"
	Leaving AgentLife = "leaving" // it said that it goes on purpose
	Lost    AgentLife = "lost"    // it is expected, and silent for too long
)

// An AgentEvent is what an [AgentReceiver] tells: an [AgentBeat], [AgentAlerted], [AgentLeft], [AgentLost] or [AgentRogue].
type AgentEvent interface {
	Status() AgentStatus // of the agent, when the event was told
}

// AgentBeat says that a heartbeat came.
type AgentBeat struct {
	AgentStatus
	Before AgentStatus // until then: Seen is zero if this is the first heartbeat; Life is Lost if it is back (AgentReceiver: from a loss that was told)
}

// AgentAlerted says that something went wrong on a machine, once for each alert.
type AgentAlerted struct {
	AgentStatus
	Alert messaging.AgentAlert
}

// AgentLeft says that an agent goes on purpose.
type AgentLeft struct{ AgentStatus }

// An AgentFinding is an event that lasts: an [AgentLost] or [AgentRogue].
type AgentFinding interface {
	AgentEvent
	finding()
}

// AgentLost says that an agent is expected, and has been silent for too long: its machine is gone, or cut off.
type AgentLost struct {
	AgentStatus
	Since time.Time // when the Timeout was over
}

// AgentRogue says that an agent goes on speaking that no list names: a machine that somebody forgot to delete, for example.
type AgentRogue struct {
	AgentStatus
	Since time.Time // when it counted as rogue
}

func (AgentLost) finding()  {}
func (AgentRogue) finding() {}
