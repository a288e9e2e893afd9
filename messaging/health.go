package messaging

// Subjects between DEAs and the health manager (HM9000).
const (
	DEAHeartbeat       Subject[Heartbeat] = "dea.heartbeat"       // DEA: every 10 s, and when something came up
	HealthManagerStart Subject[Signal]    = "healthmanager.start" // health manager: heartbeat now
)

// A Heartbeat lists all instances of a DEA. An empty list is sent too: it says that the DEA lives.
type Heartbeat struct {
	DEA      string     `json:"dea" validate:"token"`              // id of the DEA
	Droplets []Instance `json:"droplets" validate:"required,dive"` // one entry for each instance; never null
}

// An Instance is one entry of a Heartbeat. HM9000 decodes the index as an integer.
type Instance struct {
	CCPartition    string  `json:"cc_partition"`                 // from the start message
	Droplet        Text    `json:"droplet" validate:"required"`  // app guid
	Version        string  `json:"version"`                      // of the app
	Instance       string  `json:"instance" validate:"required"` // instance guid
	Index          int     `json:"index" validate:"gte=0"`       // instance index
	State          State   `json:"state" validate:"state"`       // STARTING, RUNNING, CRASHED or EVACUATING
	StateTimestamp Seconds `json:"state_timestamp"`              // of the last change of state, Unix seconds
}
