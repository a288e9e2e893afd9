package instance

import (
	"fmt"
	"slices"

	"github.com/deakit/deakit/messaging"
)

// Transitions lists the states that may follow each state. CRASHED and STOPPED are final.
func Transitions() map[messaging.State][]messaging.State {
	return map[messaging.State][]messaging.State{
		messaging.Born:       {messaging.Starting, messaging.Stopped, messaging.Evacuating, messaging.Crashed},
		messaging.Resuming:   {messaging.Running, messaging.Evacuating, messaging.Stopping, messaging.Crashed},
		messaging.Starting:   {messaging.Running, messaging.Crashed, messaging.Stopping, messaging.Evacuating},
		messaging.Running:    {messaging.Crashed, messaging.Stopping, messaging.Evacuating},
		messaging.Evacuating: {messaging.Crashed, messaging.Stopping},
		messaging.Stopping:   {messaging.Stopped},
		messaging.Stopped:    {},
		messaging.Crashed:    {},
	}
}

var transitions = Transitions()

// A TransitionError tells that a state cannot follow another.
type TransitionError struct{ From, To messaging.State }

func (e *TransitionError) Error() string {
	return fmt.Sprintf("Cannot transition from %q to %q", e.From, e.To)
}

func checkTransition(from, to messaging.State) error {
	if !slices.Contains(transitions[from], to) {
		return &TransitionError{from, to}
	}
	return nil
}

// Final tells whether no state follows s.
func Final(s messaging.State) bool { return len(transitions[s]) == 0 }
