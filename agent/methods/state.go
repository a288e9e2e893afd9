package methods

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/settings"
	"github.com/deakit/deakit/agent/spec"
	"github.com/deakit/deakit/messaging"
)

func (m *Machine) stateMethods() []action.Method {
	return []action.Method{
		{Name: "get_state", Do: m.state},
		{Name: "state", Do: m.state}, // the Ruby agent's name
	}
}

// A state is what get_state tells beside the spec. Protocol and NTP are for directors of before 2017.
type state struct {
	AgentID   string                   `json:"agent_id"`
	JobState  messaging.JobState       `json:"job_state"`
	Vitals    *messaging.AgentVitals   `json:"vitals,omitempty"`
	Processes []messaging.AgentProcess `json:"processes,omitempty"`
	VM        settings.VM              `json:"vm"`
	Protocol  string                   `json:"bosh_protocol"`
	NTP       messaging.AgentNTP       `json:"ntp"`
}

// stateMembers are the names of its members, which count before any that came with a spec.
var stateMembers = []string{"agent_id", "job_state", "vitals", "processes", "vm", "bosh_protocol", "ntp"}

// state is get_state. It always has an answer: that the supervisor does not is told as unknown. With "full" it measures the vitals.
func (m *Machine) state(ctx context.Context, formats ...string) (json.RawMessage, error) {
	s, err := m.specs.Load()
	if err != nil {
		return nil, fmt.Errorf("Getting current spec: %w", err)
	}
	s.Extra = without(s.Extra, stateMembers)
	status := m.status(ctx)
	more := state{
		AgentID: m.cfg.AgentID, JobState: status.State, Processes: status.Processes,
		VM: settings.VM{Name: m.Settings.VM.Name}, Protocol: "1", NTP: m.ntp(),
	}
	if m.cfg.Legacy {
		more.VM.ID = m.Settings.VM.ID
	}
	if slices.Contains(formats, "full") {
		more.Vitals = m.vitals()
	}
	return join(s, more)
}

// without returns the map, or a copy of it where it has some of the members.
func without(all map[string]json.RawMessage, names []string) map[string]json.RawMessage {
	for _, name := range names {
		if _, there := all[name]; there {
			all = maps.Clone(all)
			maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return slices.Contains(names, name) })
			return all
		}
	}
	return all
}

// join is the JSON of a spec and what else there is to tell, as one object.
func join(a spec.Spec, b any) (json.RawMessage, error) {
	first, err := a.MarshalJSON()
	if err != nil {
		return nil, err
	}
	second, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	first = bytes.TrimSuffix(first, []byte("}"))
	return slices.Concat(first, []byte(","), bytes.TrimPrefix(second, []byte("{"))), nil // neither is empty
}
