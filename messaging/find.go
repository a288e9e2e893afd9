package messaging

// A FindMessage asks for the instances that match.
type FindMessage struct {
	Filter
	IncludeStats Truth `json:"include_stats,omitempty"` // add figures of running instances

	// Asks for a signed URL of this path. The key alone is enough: null means the root of the instance.
	Path Optional[string] `json:"path,omitzero"`
}

// A FoundInstance answers a FindMessage, one for each instance; with no match there is no answer. The Cloud Controller
// waits 2 s.
type FoundInstance struct {
	DEA            string  `json:"dea" validate:"required"`      // id of the DEA
	Droplet        Text    `json:"droplet" validate:"required"`  // app guid
	Version        string  `json:"version"`                      // of the app
	Instance       string  `json:"instance" validate:"required"` // instance guid, 32 hex digits
	Index          int     `json:"index" validate:"gte=0"`       // instance index
	State          State   `json:"state" validate:"state"`       // in capital letters
	StateTimestamp Seconds `json:"state_timestamp"`              // of the last change of state, Unix seconds
	Staged         string  `json:"staged"`                       // "/" and the instance guid
	FileURIV2      string  `json:"file_uri_v2,omitempty"`        // signed URL, when a path was asked for
	Stats          *Stats  `json:"stats,omitempty"`              // of running instances, when asked for

	FileURI     string   `json:"file_uri,omitempty"`    // of the old directory server; staged and a path follow (until 2013-12-09)
	Credentials []string `json:"credentials,omitempty"` // user and password for file_uri (until 2013-12-09)

	ConsoleIP   string `json:"console_ip,omitempty"`   // where the app's console listens (until 2013-08-28)
	ConsolePort Int    `json:"console_port,omitempty"` // its port (until 2013-08-28)
	DebugIP     string `json:"debug_ip,omitempty"`     // where the app's debugger listens (until 2013-08-28)
	DebugPort   Int    `json:"debug_port,omitempty"`   // its port (until 2013-08-28)
}

func (m *FoundInstance) absent() { m.Index = -1 }

// An InstanceSummary is one starting or running instance, as droplet.status tells it.
type InstanceSummary struct {
	Name string   `json:"name"` // of the app
	URIs []string `json:"uris"` // its routes
}
