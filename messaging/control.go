package messaging

import "encoding/json"

// A StopMessage asks every DEA to stop the instances that match. A stop sends no droplet.exited.
type StopMessage struct {
	Filter

	// WholeApp is true when the message has the key "droplet" and no other: the app is stopped completely, and its
	// staging with it (dea_ng since 2016). It is read only: a message is sent so when its Filter has nothing else.
	WholeApp bool `json:"-"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *StopMessage) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &m.Filter); err != nil {
		return err
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return err
	}
	_, ok := keys["droplet"]
	m.WholeApp = ok && len(keys) == 1
	return nil
}

// An UpdateMessage changes the routes, or the version, of the running instances of an app.
type UpdateMessage struct {
	Droplet Text      `json:"droplet" validate:"required"` // app guid
	URIs    *[]string `json:"uris,omitempty"`              // all routes from now on; nil leaves them as they are
	Version *string   `json:"version,omitempty"`           // of the app; nil leaves it, another one gives the instances new guids
}
