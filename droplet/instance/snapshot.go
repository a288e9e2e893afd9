package instance

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/messaging"
)

// A Snapshot is the content of db/instances.json: what a node runs, for its next life and for outside readers such as
// log agents. Names and types are those of dea_ng. It contains credentials.
type Snapshot struct {
	Time         messaging.Seconds `json:"time"`
	Instances    []Record          `json:"instances"`
	StagingTasks []json.RawMessage `json:"staging_tasks"`
}

// A Record is one instance in a Snapshot.
type Record struct {
	CCPartition         string             `json:"cc_partition"`
	ApplicationID       string             `json:"application_id"`
	ApplicationVersion  string             `json:"application_version"`
	ApplicationName     string             `json:"application_name"`
	ApplicationURIs     []string           `json:"application_uris"`
	InstanceID          string             `json:"instance_id"`
	PrivateInstanceID   string             `json:"private_instance_id"`
	InstanceIndex       int                `json:"instance_index"`
	WardenHandle        *string            `json:"warden_handle"`
	Limits              messaging.Limits   `json:"limits"`
	HealthCheckTimeout  *int64             `json:"health_check_timeout"`
	Environment         map[string]string  `json:"environment"`
	Services            messaging.Services `json:"services"`
	DropletSHA1         *string            `json:"droplet_sha1"`
	DropletURI          *string            `json:"droplet_uri"`
	StartCommand        *string            `json:"start_command"`
	State               messaging.State    `json:"state"`
	WardenJobID         *uint32            `json:"warden_job_id"`
	WardenContainerPath *string            `json:"warden_container_path"`
	WardenHostIP        *string            `json:"warden_host_ip"`
	WardenContainerIP   *string            `json:"warden_container_ip"`
	HostPort            *uint16            `json:"instance_host_port"`
	ContainerPort       *uint16            `json:"instance_container_port"`
	SyslogDrainURLs     []string           `json:"syslog_drain_urls"`
	StateStartingAt     *messaging.Seconds `json:"state_starting_timestamp"`
}

// recorded are the states that a snapshot holds. An evacuating instance is among them, other than in dea_ng: it has a
// container, which the next life must know of.
var recorded = []messaging.State{
	messaging.Starting, messaging.Running, messaging.Crashed, messaging.Stopping, messaging.Evacuating,
}

// Snapshot describes all instances that matter to a next life.
func (r *Registry) Snapshot() Snapshot {
	snapshot := Snapshot{
		Time: messaging.SecondsOf(time.Now()), Instances: []Record{}, StagingTasks: []json.RawMessage{},
	}
	for _, i := range r.All() {
		if s := i.Status(); slices.Contains(recorded, s.State) {
			snapshot.Instances = append(snapshot.Instances, i.record(s))
		}
	}
	return snapshot
}

func (i *Instance) record(s Status) Record {
	m := i.Message()
	uris, environment := s.URIs, map[string]string{}
	if uris == nil {
		uris = []string{}
	}
	for _, v := range m.Environment() {
		environment[v.Name] = v.Value
	}
	r := Record{
		CCPartition: m.CCPartition, ApplicationID: i.App(), ApplicationVersion: s.Version, ApplicationName: m.Name,
		ApplicationURIs: uris, InstanceID: s.ID, PrivateInstanceID: i.privateID, InstanceIndex: m.Index,
		WardenHandle: known(s.Handle), Limits: m.Limits, HealthCheckTimeout: known(int64(m.HealthCheckTimeout)),
		Environment: environment, Services: m.Services, DropletSHA1: known(m.SHA1), DropletURI: known(m.ExecutableURI),
		StartCommand: known(m.StartCommand), State: s.State, WardenJobID: known(s.ProcessID),
		WardenContainerPath: known(s.Container.Path), WardenHostIP: known(s.Container.HostIP),
		WardenContainerIP: known(s.Container.ContainerIP), HostPort: known(s.HostPort), ContainerPort: known(s.Port),
		SyslogDrainURLs: m.Services.DrainURLs(),
	}
	if !s.StartedAt.IsZero() {
		at := messaging.SecondsOf(s.StartedAt)
		r.StateStartingAt = &at
	}
	return r
}

// known returns nil for a zero value: null in the snapshot.
func known[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}

// WriteFile replaces the file at path by the snapshot, readable for its owner only. A reader sees the old or the new
// content, never a part.
func (s Snapshot) WriteFile(path string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(data, '\n'), 0o600)
}
