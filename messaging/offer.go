package messaging

// An Advertisement offers the capacity of a DEA. The Cloud Controller drops it after 10 s.
type Advertisement struct {
	ID     string   `json:"id" validate:"token"`        // of the DEA; it becomes a part of subjects
	Stacks []string `json:"stacks" validate:"required"` // names of the root file systems it has

	AvailableMemory Int  `json:"available_memory"`         // what is left, MB; negative when more is reserved than there is
	AvailableDisk   *Int `json:"available_disk,omitempty"` // the same for disk, MB; nil (before 2013-10-31) means enough

	AppIDToCount map[string]int `json:"app_id_to_count" validate:"required"` // instances of each app here, in any state; never null

	PlacementProperties Placement `json:"placement_properties"` // where the DEA stands

	// URL of the HTTPS interface, https://host:port. Since 2016-03 a DEA without one sends null, older ones do not send
	// the key; receivers take both alike.
	URL Optional[string] `json:"url,omitzero"`

	Prod               Truth `json:"prod,omitempty"`                // for production apps only (until 2013-07)
	AvailableInstances *Int  `json:"available_instances,omitempty"` // free places for instances (March 2014 only)
}

// Placement tells where a DEA stands.
type Placement struct {
	Zone string `json:"zone"` // "default" where none is configured; receivers take an empty one for that
}

// Hello tells that a DEA is there.
type Hello struct {
	ID      string `json:"id" validate:"token"` // of the DEA
	IP      string `json:"ip"`                  // of the DEA
	Version string `json:"version"`             // of the software; dea_ng says "0.0.1"
	Port    Int    `json:"port,omitempty"`      // of the old directory server (until mid 2013)
}

// Goodbye tells that a DEA is about to leave. It may come several times.
type Goodbye struct {
	ID           string         `json:"id" validate:"token"` // of the DEA
	IP           string         `json:"ip"`                  // of the DEA
	Version      string         `json:"version"`             // of the software; dea_ng says "0.0.1"
	AppIDToCount map[string]int `json:"app_id_to_count"`     // instances of each app there, in any state
}

// Capacity answers the question for a DEA's status. Fractions of peers are cut off.
type Capacity struct {
	ID             string `json:"id" validate:"token"` // of the DEA
	IP             string `json:"ip"`                  // of the DEA
	Version        string `json:"version"`             // of the software; dea_ng says "0.0.1"
	MaxMemory      Int    `json:"max_memory"`          // what may be reserved, overcommitment included, MB
	ReservedMemory Int    `json:"reserved_memory"`     // of instances and staging tasks, MB
	UsedMemory     Int    `json:"used_memory"`         // measured, of instances only, MB
	NumClients     *Int   `json:"num_clients"`         // always null
}

// A DiscoverMessage asks which DEA has room for an instance. Those that have none stay silent, the others answer after a
// delay that grows with their load, and the first answer wins. Answering reserves nothing.
type DiscoverMessage struct {
	Droplet Text   `json:"droplet" validate:"required"` // app guid
	Limits  Limits `json:"limits"`                      // what the instance needs
}

func (m *DiscoverMessage) absent() { m.Limits.Mem, m.Limits.Disk = -1, -1 }
