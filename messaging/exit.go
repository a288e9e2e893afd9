package messaging

// The reasons of an Exit.
const (
	ReasonCrashed    = "CRASHED"        // ended by itself, or could not be started
	ReasonEvacuation = "DEA_EVACUATION" // still runs; a replacement is wanted
	ReasonShutdown   = "DEA_SHUTDOWN"   // the DEA stops it because it ends itself (until 2013-12-06)
	ReasonStopped    = "STOPPED"        // stopped as told (until 2013-12-06; since then nothing is sent)
)

// Exit tells that an instance ended by itself or has to be replaced. Exactly one is sent for each end; a stop sends
// none. HM9000 decodes the numbers as integers.
type Exit struct {
	CCPartition     string `json:"cc_partition"`                 // from the start message
	Droplet         Text   `json:"droplet" validate:"required"`  // app guid
	Version         string `json:"version"`                      // of the app
	Instance        string `json:"instance" validate:"required"` // instance guid
	Index           int    `json:"index" validate:"gte=0"`       // instance index
	Reason          string `json:"reason" validate:"required"`   // CRASHED or DEA_EVACUATION; receivers take any case
	ExitStatus      int    `json:"exit_status"`                  // of the process; -1 when unknown
	ExitDescription string `json:"exit_description"`             // why, for people; may be empty
	CrashTimestamp  int64  `json:"crash_timestamp,omitempty"`    // Unix seconds, when crashed
}

func (m *Exit) absent() { m.Index = -1 }
