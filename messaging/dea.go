package messaging

import "encoding/json"

// Subjects between a DEA and the Cloud Controller (dea_ng).
const (
	DEAAdvertise   Subject[Advertisement]            = "dea.advertise"    // DEA: capacity offer, every 5 s and when asked
	DEALocate      Subject[Signal]                   = "dea.locate"       // Cloud Controller: advertise now
	DEAStop        Subject[StopMessage]              = "dea.stop"         // Cloud Controller: stop what matches
	DEAUpdate      Subject[UpdateMessage]            = "dea.update"       // Cloud Controller: new routes or version
	DEAFindDroplet Query[FindMessage, FoundInstance] = "dea.find.droplet" // one answer for each match, else silence
	DEAShutdown    Subject[Goodbye]                  = "dea.shutdown"     // DEA: forget my offer
	DropletExited  Subject[Exit]                     = "droplet.exited"   // DEA: an instance ended by itself, or has to leave
)

// DEAStart returns the subject on which the DEA of this id is told to start an instance. There is no answer.
func DEAStart(id string) Subject[StartMessage] { return Subject[StartMessage]("dea." + id + ".start") }

// An Advertisement offers the capacity of a DEA. The Cloud Controller drops it after 10 s.
type Advertisement struct {
	ID     string   `json:"id" validate:"token"`
	Stacks []string `json:"stacks" validate:"required"`

	// What is left in MB; negative when more is reserved than there is.
	AvailableMemory Int `json:"available_memory"`
	AvailableDisk   Int `json:"available_disk"`

	// Instances of each app here, in any state. Never null on the wire.
	AppIDToCount map[string]int `json:"app_id_to_count" validate:"required"`

	PlacementProperties Placement `json:"placement_properties"`

	URL string `json:"url,omitempty"` // of the HTTPS interface, from 2016
}

// Placement tells where a DEA stands.
type Placement struct {
	Zone string `json:"zone"` // "default" where none is configured
}

// A StopMessage asks every DEA to stop the instances that match. A stop sends no droplet.exited.
type StopMessage struct {
	Filter

	// WholeApp is true when the message has the key "droplet" and no other: the app is stopped completely, and its
	// staging with it (dea_ng since 2016).
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
	Droplet Text      `json:"droplet" validate:"required"`
	URIs    *[]string `json:"uris,omitempty"`    // all routes from now on; nil leaves them as they are
	Version *string   `json:"version,omitempty"` // nil leaves it; another one gives the instances new guids
}

// A FindMessage asks for the instances that match.
type FindMessage struct {
	Filter
	IncludeStats Truth `json:"include_stats,omitempty"`

	// Path asks for a signed URL of this path. The key alone is enough: null means the root of the instance.
	Path Optional[string] `json:"path,omitzero"`
}

// A FoundInstance answers a FindMessage.
type FoundInstance struct {
	DEA            string  `json:"dea" validate:"required"`
	Droplet        Text    `json:"droplet" validate:"required"`
	Version        string  `json:"version"`
	Instance       string  `json:"instance" validate:"required"` // guid, 32 hex digits
	Index          int     `json:"index" validate:"gte=0"`
	State          State   `json:"state" validate:"state"`
	StateTimestamp Seconds `json:"state_timestamp"`
	Staged         string  `json:"staged"` // "/" and the instance guid
	FileURIV2      string  `json:"file_uri_v2,omitempty"`
	Stats          *Stats  `json:"stats,omitempty"` // of running instances, when asked for
}

func (m *FoundInstance) absent() { m.Index = -1 }

// Stats of a running instance.
type Stats struct {
	Name      string   `json:"name"`
	URIs      []string `json:"uris"`
	Host      string   `json:"host"`
	Port      *uint16  `json:"port"`   // null when the instance has none
	Uptime    Int      `json:"uptime"` // seconds since STARTING
	MemQuota  int64    `json:"mem_quota"`
	DiskQuota int64    `json:"disk_quota"`
	FDsQuota  int64    `json:"fds_quota"`
	Usage     Usage    `json:"usage"`
}

// Usage is the last measurement of an instance.
type Usage struct {
	Time string  `json:"time"` // UsageTimeLayout
	CPU  float64 `json:"cpu"`  // fraction of one core: 2.0 is two whole cores
	Mem  int64   `json:"mem"`  // bytes
	Disk int64   `json:"disk"` // bytes
}

// UsageTimeLayout is the form of Usage.Time and of the times in VCAP_APPLICATION.
const UsageTimeLayout = "2006-01-02 15:04:05 -0700"

// Goodbye tells that a DEA is about to leave. It may come several times.
type Goodbye struct {
	ID           string         `json:"id" validate:"token"`
	IP           string         `json:"ip"`
	Version      string         `json:"version"` // of the software; dea_ng says "0.0.1"
	AppIDToCount map[string]int `json:"app_id_to_count"`
}

// The reasons of an Exit.
const (
	ReasonCrashed    = "CRASHED"        // ended by itself, or could not be started
	ReasonEvacuation = "DEA_EVACUATION" // still runs; a replacement is wanted
)

// Exit tells that an instance ended by itself or has to be replaced. Exactly one is sent for each end; a stop sends
// none. HM9000 decodes the numbers as integers.
type Exit struct {
	CCPartition     string `json:"cc_partition"`
	Droplet         Text   `json:"droplet" validate:"required"`
	Version         string `json:"version"`
	Instance        string `json:"instance" validate:"required"`
	Index           int    `json:"index" validate:"gte=0"`
	Reason          string `json:"reason" validate:"required"`
	ExitStatus      int    `json:"exit_status"` // -1 when unknown
	ExitDescription string `json:"exit_description"`
	CrashTimestamp  int64  `json:"crash_timestamp,omitempty"` // Unix seconds, when crashed
}

func (m *Exit) absent() { m.Index = -1 }
