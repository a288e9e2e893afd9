package messaging

// Subjects between DEAs and the health manager (HM9000).
const (
	DEAHeartbeat       Subject[Heartbeat] = "dea.heartbeat"       // DEA: every 10 s, and when something came up
	HealthManagerStart Subject[Signal]    = "healthmanager.start" // health manager: heartbeat now
)

// A Heartbeat lists all instances of a DEA. An empty list is sent too: it says that the DEA lives.
type Heartbeat struct {
	DEA      string     `json:"dea" validate:"token"`
	Droplets []Instance `json:"droplets" validate:"required,dive"`
}

// An Instance is one entry of a Heartbeat.
type Instance struct {
	CCPartition    string  `json:"cc_partition"`
	Droplet        Text    `json:"droplet" validate:"required"` // app guid
	Version        string  `json:"version"`
	Instance       string  `json:"instance" validate:"required"` // guid
	Index          int     `json:"index" validate:"gte=0"`
	State          State   `json:"state" validate:"state"` // STARTING, RUNNING, CRASHED or EVACUATING
	StateTimestamp Seconds `json:"state_timestamp"`
}
