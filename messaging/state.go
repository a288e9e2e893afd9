package messaging

import (
	"slices"
	"strings"
)

// State of an application instance, as messages and snapshots name it (dea_ng).
type State string

// The states. Heartbeats carry STARTING, RUNNING, CRASHED and EVACUATING only.
const (
	Born       State = "BORN"       // made from a start message, nothing done yet
	Starting   State = "STARTING"   // download to health check
	Running    State = "RUNNING"    // passed its health check
	Stopping   State = "STOPPING"   // told to end
	Stopped    State = "STOPPED"    // ended as told
	Crashed    State = "CRASHED"    // ended by itself, or never came up
	Resuming   State = "RESUMING"   // read from the snapshot
	Evacuating State = "EVACUATING" // runs, but wants to be replaced elsewhere
	Deleted    State = "DELETED"    // until 2014; matches nothing
)

// States lists all states that can occur in a filter.
func States() []State {
	return []State{Born, Starting, Running, Stopping, Stopped, Crashed, Resuming, Evacuating, Deleted}
}

// ParseState reads a state name in any case.
func ParseState(name string) (State, bool) {
	s := State(strings.ToUpper(name))
	return s, isState(string(s))
}

func isState(name string) bool { return slices.Contains(States(), State(name)) }
