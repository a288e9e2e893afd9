package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Settings are what an infrastructure says about a machine. They hold secrets: what is logged of them is the agent id.
type Settings struct {
	AgentID   string    `json:"agent_id"`
	Mbus      string    `json:"mbus"`
	VM        VM        `json:"vm"`
	Blobstore Blobstore `json:"blobstore"`
	NTP       []string  `json:"ntp"`
	Networks  Networks  `json:"networks"`
	Disks     Disks     `json:"disks"`
	Env       Env       `json:"env"`
	IPTables  IPTables  `json:"iptables,omitzero"`

	raw json.RawMessage
}

// VM is how the infrastructure calls the machine. ID is vSphere's.
type VM struct {
	Name string `json:"name"`
	ID   string `json:"id,omitempty"`
}

// Blobstore names a provider and its options.
type Blobstore struct {
	Provider string         `json:"provider"`
	Options  map[string]any `json:"options"`
}

// IPTables lists what only root may send to (Ruby).
type IPTables struct {
	DropOutput []string `json:"drop_output"`
}

// maxDocument bounds settings, user data and the like: 4 MiB.
const maxDocument = 4 << 20

// Parse reads a settings document: one JSON object. Unknown keys are kept for [Settings.JSON] and otherwise ignored.
func Parse(data []byte) (*Settings, error) {
	if len(data) > maxDocument {
		return nil, fmt.Errorf("settings of %d bytes: at most %d are read", len(data), maxDocument)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil || object == nil {
		return nil, fmt.Errorf("settings are no JSON object: %w", orNull(err))
	}
	s := &Settings{raw: json.RawMessage(data)}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	if strings.ContainsAny(s.AgentID, " .*>\t\r\n") {
		return nil, fmt.Errorf("settings: agent_id %q is a part of subjects: it cannot hold blanks, dots and wildcards", s.AgentID)
	}
	for cid, disk := range s.Disks.Persistent {
		disk.CID = cid
		s.Disks.Persistent[cid] = disk
	}
	return s, nil
}

func orNull(err error) error {
	if err == nil {
		return errors.New("it is null")
	}
	return err
}

// JSON is the document that the settings were read from, with the keys that are not known here; of settings that were
// made otherwise, what they hold.
func (s *Settings) JSON() ([]byte, error) {
	if s.raw != nil {
		return s.raw, nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	return data, nil
}

// LogValue is the agent id.
func (s *Settings) LogValue() slog.Value { return slog.StringValue(s.AgentID) }

// PersistentDisk returns how a persistent disk is attached and how it is to be formatted and mounted.
func (s *Settings) PersistentDisk(cid string) (PersistentDisk, bool) {
	d, ok := s.Disks.Persistent[cid]
	d.CID = cid
	return s.Env.persistent(d), ok
}

// PersistentDiskFrom is PersistentDisk for one of which the settings do not know: a hint of the director.
func (s *Settings) PersistentDiskFrom(d Disk) PersistentDisk { return s.Env.persistent(d) }
