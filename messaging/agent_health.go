package messaging

import (
	"encoding/json"
	"strconv"
)

// Subjects on which BOSH agents tell the health monitor how they are. Each contains the id of the agent, and the health
// monitor listens on all of them ("hm.agent.heartbeat.*" and so on). Nothing is answered.

// HMAgentHeartbeat returns the subject on which the agent of this id says that it lives: at once, then every 30 s.
func HMAgentHeartbeat(id string) Subject[AgentHeartbeat] {
	return Subject[AgentHeartbeat]("hm.agent.heartbeat." + id)
}

// HMAgentAlert returns the subject on which the agent of this id tells of something that went wrong.
func HMAgentAlert(id string) Subject[AgentAlert] { return Subject[AgentAlert]("hm.agent.alert." + id) }

// HMAgentShutdown returns the subject on which the agent of this id says that it goes on purpose.
func HMAgentShutdown(id string) Subject[AgentShutdown] {
	return Subject[AgentShutdown]("hm.agent.shutdown." + id)
}

// JobState tells how the processes of a machine are, all in all (get_state and heartbeats).
type JobState string

// The job states, in the order in which they are looked for: the first that applies is told.
const (
	JobUnknown  JobState = "unknown"  // the supervisor cannot be asked
	JobStopped  JobState = "stopped"  // stopped as told
	JobStarting JobState = "starting" // a process is being started
	JobFailing  JobState = "failing"  // a process is not running, or is not watched
	JobRunning  JobState = "running"  // all processes run; also when there are none
)

// An AgentHeartbeat says that an agent lives, and how its machine is. The health monitor decodes it leniently: the Ruby
// agent of before 2014 sends no deployment, node_id and number_of_processes, and the index as it was stored.
type AgentHeartbeat struct {
	Deployment string      `json:"deployment"`          // empty before the first apply
	Job        *string     `json:"job"`                 // name of the instance group; nil before the first apply
	Index      *int        `json:"index"`               // of the instance in its group; nil when it has none (received: text too)
	JobState   JobState    `json:"job_state"`           // running, starting, failing, stopped or unknown
	Vitals     AgentVitals `json:"vitals"`              // figures of the machine
	NTP        *AgentNTP   `json:"ntp,omitempty"`       // agents until 2017
	NodeID     string      `json:"node_id"`             // id of the instance; empty before the first apply
	Processes  *int        `json:"number_of_processes"` // that the supervisor watches; nil when it cannot be asked
}

// UnmarshalJSON implements json.Unmarshaler: an index that is text counts when it is a number, and as null otherwise.
func (h *AgentHeartbeat) UnmarshalJSON(data []byte) error {
	type plain AgentHeartbeat
	loose := struct {
		*plain
		Index looseIndex `json:"index"`
	}{plain: (*plain)(h)}
	if err := json.Unmarshal(data, &loose); err != nil {
		return err
	}
	h.Index = loose.Index.value
	return nil
}

type looseIndex struct{ value *int }

func (x *looseIndex) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil { // null too
		if n, err := strconv.Atoi(text); err == nil {
			x.value = &n
		}
		return nil
	}
	return json.Unmarshal(data, &x.value)
}

// AgentVitals are figures of an agent's machine. All but the uptime are text.
type AgentVitals struct {
	CPU    *AgentCPU    `json:"cpu,omitempty"`    // over the last 10 s
	Disk   AgentDisks   `json:"disk"`             // how full the disks are
	Load   []Text       `json:"load,omitempty"`   // averages over 1, 5 and 15 minutes: "0.09"
	Mem    *AgentMemory `json:"mem,omitempty"`    // without what buffers and caches hold
	Swap   *AgentMemory `json:"swap,omitempty"`   // swapped out
	Uptime *AgentUptime `json:"uptime,omitempty"` // of the machine (agents since 2014)
}

// AgentCPU is what the processors do, in percent of all of them: "3.1".
type AgentCPU struct {
	System Text `json:"sys"`  // the kernel
	User   Text `json:"user"` // programs, those of low priority included
	Wait   Text `json:"wait"` // waiting for disks
}

// AgentMemory is how much of a memory is in use.
type AgentMemory struct {
	KB      Text `json:"kb"`      // KiB in use: "145996"
	Percent Text `json:"percent"` // of all there is: "4"
}

// AgentUptime is how long a machine, or a process, has been up.
type AgentUptime struct {
	Seconds Int `json:"secs,omitempty"` // a number
}

// AgentProcess is one process that an agent's supervisor watches (get_state). Its figures are numbers.
type AgentProcess struct {
	Name   string             `json:"name"`
	State  JobState           `json:"state"`  // running, starting, failing, or unknown when it is not watched
	Uptime AgentUptime        `json:"uptime"` // of the process
	Memory AgentProcessMemory `json:"mem"`    // of the process and its children
	CPU    AgentProcessCPU    `json:"cpu"`    // of the process and its children
}

// AgentProcessMemory is what a process occupies.
type AgentProcessMemory struct {
	KB      Int     `json:"kb,omitempty"` // KiB
	Percent float64 `json:"percent"`      // of the machine's
}

// AgentProcessCPU is what a process takes of the processors.
type AgentProcessCPU struct {
	Total float64 `json:"total"` // percent
}

// AgentDisks tells of the file systems of a machine. One that is not mounted is absent.
type AgentDisks struct {
	Ephemeral  *AgentDisk `json:"ephemeral,omitempty"`  // base/data
	Persistent *AgentDisk `json:"persistent,omitempty"` // base/store
	System     *AgentDisk `json:"system,omitempty"`     // the root
}

// AgentDisk is how full a file system is.
type AgentDisk struct {
	InodePercent Text `json:"inode_percent"` // of the files that it can have: "2"
	Percent      Text `json:"percent"`       // of its bytes: "5"
}

// AgentNTP is how well the clock is set, by the log of ntpdate: either Message, or Offset and Timestamp.
type AgentNTP struct {
	Message   string `json:"message,omitempty"`   // what is wrong: "bad ntp server", "file missing" or "bad file contents"
	Offset    Text   `json:"offset,omitempty"`    // seconds: "-0.06423"
	Timestamp string `json:"timestamp,omitempty"` // as ntpdate writes it: "14 Oct 11:13:19"
}

// An AgentAlert tells of something that went wrong on an agent's machine. The health monitor drops those that it has seen,
// by id, and the Ruby agent sends each three times.
type AgentAlert struct {
	ID        string `json:"id" validate:"required"`      // of the event
	Severity  int    `json:"severity" validate:"gte=0"`   // 1 alert, 2 critical, 3 error, 4 warning
	Title     string `json:"title" validate:"required"`   // "nats (10.0.0.21) - does not exist - restart"
	Summary   string `json:"summary"`                     // what happened, for people
	CreatedAt int64  `json:"created_at" validate:"gte=1"` // Unix seconds
}

func (a *AgentAlert) absent() { a.Severity = -1 }

// AgentShutdown says that an agent goes on purpose, so that nobody misses it. It is sent as null: today's health monitor
// reads it as JSON. The Ruby agent sends an empty message, so any payload will do.
type AgentShutdown struct{}

func (*AgentShutdown) ignored() {}

// MarshalJSON implements json.Marshaler.
func (AgentShutdown) MarshalJSON() ([]byte, error) { return []byte("null"), nil }
