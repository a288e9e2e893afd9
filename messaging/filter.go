package messaging

import (
	"encoding/json"
	"fmt"
	"slices"
)

// A Filter selects instances of one app. All given conditions must hold; an empty list is no condition.
type Filter struct {
	Droplet Text `json:"droplet" validate:"required"` // app guid

	// Version of the app, by equality; absent or null means any version, an empty string is a version.
	Version *string `json:"version,omitempty"`

	Instances   Texts   `json:"instances,omitempty"`    // instance guids
	InstanceIDs Texts   `json:"instance_ids,omitempty"` // a synonym of instances; the union of both counts
	Indices     Indices `json:"indices,omitempty"`      // instance indexes
	States      Names   `json:"states,omitempty"`       // received in any case; an unknown one refuses the message
}

// Names is a list of states; input is accepted in any case, an unknown name refuses the message ("Unknown state").
type Names []State

// UnmarshalJSON implements json.Unmarshaler.
func (n *Names) UnmarshalJSON(data []byte) error {
	var names []string
	if err := json.Unmarshal(data, &names); err != nil {
		return err
	}
	*n = nil
	for _, name := range names {
		state, ok := ParseState(name)
		if !ok {
			return fmt.Errorf("Unknown state: %.40s", name) //nolint:staticcheck // the text of dea_ng
		}
		*n = append(*n, state)
	}
	return nil
}

// Matches tells whether an instance is selected.
func (f Filter) Matches(app, version, instance string, index int, state State) bool {
	if string(f.Droplet) != app || f.Version != nil && *f.Version != version {
		return false
	}
	if len(f.Instances)+len(f.InstanceIDs) > 0 &&
		!slices.Contains(f.Instances, instance) && !slices.Contains(f.InstanceIDs, instance) {
		return false
	}
	return (len(f.Indices) == 0 || slices.Contains(f.Indices, index)) &&
		(len(f.States) == 0 || slices.Contains(f.States, state))
}
