package instance

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/deakit/deakit/messaging"
)

// A Record is one instance in a Snapshot. The first keys are those of dea_ng, which outside tools read; the last ones are
// additions, without which a resumed instance would know less than the one before. It contains credentials.
type Record struct {
	CCPartition         string             `json:"cc_partition"`
	ApplicationID       messaging.Text     `json:"application_id"`
	ApplicationVersion  string             `json:"application_version"`
	ApplicationName     string             `json:"application_name"`
	ApplicationURIs     []string           `json:"application_uris"`
	InstanceID          string             `json:"instance_id"`         // 32 hex digits
	PrivateInstanceID   string             `json:"private_instance_id"` // 64 hex digits
	InstanceIndex       int                `json:"instance_index"`
	WardenHandle        *string            `json:"warden_handle"` // of the container
	Limits              messaging.Limits   `json:"limits"`
	HealthCheckTimeout  *int64             `json:"health_check_timeout"` // seconds
	Environment         map[string]string  `json:"environment"`
	Services            messaging.Services `json:"services"`
	DropletSHA1         *string            `json:"droplet_sha1"`
	DropletURI          *string            `json:"droplet_uri"`
	StartCommand        *string            `json:"start_command"`
	State               messaging.State    `json:"state"`
	WardenJobID         *uint32            `json:"warden_job_id"` // of the app's process
	WardenContainerPath *string            `json:"warden_container_path"`
	WardenHostIP        *string            `json:"warden_host_ip"`
	WardenContainerIP   *string            `json:"warden_container_ip"`
	HostPort            *uint16            `json:"instance_host_port"`
	ContainerPort       *uint16            `json:"instance_container_port"`
	SyslogDrainURLs     []string           `json:"syslog_drain_urls"`
	StateStartingAt     *messaging.Seconds `json:"state_starting_timestamp"`

	Env                []string                   `json:"env,omitempty"`     // Environment in its order
	Scripts            bool                       `json:"scripts,omitempty"` // Status.Scripts
	Stack              string                     `json:"stack,omitempty"`
	EgressNetworkRules []messaging.EgressRule     `json:"egress_network_rules,omitempty"`
	VCAPApplication    map[string]json.RawMessage `json:"vcap_application,omitempty"`
	StateAt            messaging.Seconds          `json:"state_timestamp,omitempty"`
	ExitStatus         *int                       `json:"exit_status,omitempty"` // of a crash
	ExitDescription    string                     `json:"exit_description,omitempty"`
}

// A RecordError says why a record of a snapshot cannot be resumed.
type RecordError struct {
	InstanceID string
	Problem    string
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("record of instance %.40q: %s", e.InstanceID, e.Problem)
}

// Check refuses, with a *RecordError, what [Resume] cannot make an instance of. The id becomes the name of a directory.
func (r Record) Check() error {
	for _, rule := range []struct {
		broken  bool
		problem string
	}{
		{!isHex(r.InstanceID), "instance_id is not made of hex digits"},
		{!isHex(r.PrivateInstanceID), "private_instance_id is not made of hex digits"},
		{r.ApplicationID == "", "application_id is missing"},
		{r.InstanceIndex < 0, "instance_index is negative"},
		{min(r.Limits.Mem, r.Limits.Disk, r.Limits.FDs) < 0, "limits are negative"},
		{max(r.Limits.Mem, r.Limits.Disk) > 1<<30, "limits are absurd"},
		{!slices.Contains(recorded, r.State), fmt.Sprintf("state %.20q cannot be resumed", r.State)},
	} {
		if rule.broken {
			return &RecordError{r.InstanceID, rule.problem}
		}
	}
	return nil
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// record describes the instance for a snapshot.
func (i *Instance) record(s Status) Record {
	m := i.Message()
	environment := map[string]string{}
	for _, v := range m.Environment() {
		environment[v.Name] = v.Value
	}
	r := Record{
		CCPartition: m.CCPartition, ApplicationID: m.Droplet, ApplicationVersion: s.Version, ApplicationName: m.Name,
		ApplicationURIs: append([]string{}, s.URIs...), InstanceID: s.ID, PrivateInstanceID: i.privateID, InstanceIndex: m.Index,
		WardenHandle: known(s.Handle), Limits: m.Limits, HealthCheckTimeout: known(int64(m.HealthCheckTimeout)),
		Environment: environment, Services: m.Services, DropletSHA1: known(m.SHA1), DropletURI: known(m.ExecutableURI),
		StartCommand: known(m.StartCommand), State: s.State, WardenJobID: known(s.ProcessID),
		WardenContainerPath: known(s.Container.Path), WardenHostIP: known(s.Container.HostIP),
		WardenContainerIP: known(s.Container.ContainerIP), HostPort: known(s.HostPort), ContainerPort: known(s.Port),
		SyslogDrainURLs: m.Services.DrainURLs(),
		Env:             m.Env, Scripts: s.Scripts, Stack: m.Stack, EgressNetworkRules: m.EgressNetworkRules, VCAPApplication: m.VCAPApplication,
		StateAt: messaging.SecondsOf(s.Since),
	}
	if !s.StartedAt.IsZero() {
		at := messaging.SecondsOf(s.StartedAt)
		r.StateStartingAt = &at
	}
	if s.State == messaging.Crashed {
		r.ExitStatus, r.ExitDescription = &s.ExitStatus, s.ExitDescription
	}
	return r
}

// message is the start message from which the instance could have been made. A record of a dea_ng lacks the additional
// keys; its environment comes in the order of the names then.
func (r Record) message() messaging.StartMessage {
	env := r.Env
	if env == nil {
		for _, name := range slices.Sorted(maps.Keys(r.Environment)) {
			env = append(env, name+"="+r.Environment[name])
		}
	}
	return messaging.StartMessage{
		Droplet: r.ApplicationID, Index: r.InstanceIndex, Name: r.ApplicationName, Version: r.ApplicationVersion,
		URIs: r.ApplicationURIs, CCPartition: r.CCPartition, Limits: r.Limits, SHA1: value(r.DropletSHA1),
		ExecutableURI: value(r.DropletURI), Env: env, Services: r.Services, StartCommand: value(r.StartCommand),
		HealthCheckTimeout: messaging.Int(value(r.HealthCheckTimeout)), Stack: r.Stack,
		EgressNetworkRules: r.EgressNetworkRules, VCAPApplication: r.VCAPApplication,
	}
}

// restore gives an instance what only the process before knew. What the container tells by itself comes later, and wins.
func (r Record) restore(s *Status) {
	s.HostPort, s.Port, s.ProcessID = value(r.HostPort), value(r.ContainerPort), value(r.WardenJobID)
	s.Scripts = r.Scripts
	s.Container.Path = value(r.WardenContainerPath)
	s.Container.HostIP, s.Container.ContainerIP = value(r.WardenHostIP), value(r.WardenContainerIP)
	if r.StateStartingAt != nil || r.State != messaging.Crashed {
		s.StartedAt = past(value(r.StateStartingAt))
	}
	if r.State == messaging.Crashed {
		s.Since = past(r.StateAt)
		s.ExitDescription = r.ExitDescription
		if r.ExitStatus != nil {
			s.ExitStatus = *r.ExitStatus
		}
	}
}

// past is a time that an earlier process knew. One that is not there, or is yet to come because a clock was wrong, is now.
func past(s messaging.Seconds) time.Time {
	now := time.Now()
	if s > 0 && s <= messaging.SecondsOf(now) {
		return s.Time()
	}
	return now
}

// known returns nil for a zero value: null in the snapshot.
func known[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}

// value is the reverse of known.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
