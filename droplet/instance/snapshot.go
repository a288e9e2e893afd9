package instance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
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
	StagingTasks []StagingRecord   `json:"staging_tasks"`
}

// A StagingRecord is one staging task in a Snapshot. It is there for outside readers only: staging is not resumed.
type StagingRecord struct {
	StagingMessage      json.RawMessage `json:"staging_message"`
	WardenContainerPath *string         `json:"warden_container_path"`
	WardenJobID         *uint32         `json:"warden_job_id"`
	SyslogDrainURLs     []string        `json:"syslog_drain_urls"`
}

// recorded are the states that a snapshot holds. An evacuating instance is among them, other than in dea_ng: it has a
// container, which the next life must know of. One that is being resumed is not: its record is still in the file.
var recorded = []messaging.State{
	messaging.Starting, messaging.Running, messaging.Crashed, messaging.Stopping, messaging.Evacuating,
}

// Snapshot describes all instances that matter to a next life.
func (r *Registry) Snapshot() Snapshot {
	snapshot := Snapshot{
		Time: messaging.SecondsOf(time.Now()), Instances: []Record{}, StagingTasks: []StagingRecord{},
	}
	for _, i := range r.All() {
		if s := i.Status(); slices.Contains(recorded, s.State) {
			snapshot.Instances = append(snapshot.Instances, i.record(s))
		}
	}
	return snapshot
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

// maxSnapshot bounds what is read: thousands of instances with a large environment each.
const maxSnapshot = 256 << 20

// A SnapshotError says that a file is no snapshot: cut off, for example, or of something else.
type SnapshotError struct {
	Path string
	Err  error
}

func (e *SnapshotError) Error() string { return fmt.Sprintf("%s is no snapshot: %v", e.Path, e.Err) }

// Unwrap returns what is wrong.
func (e *SnapshotError) Unwrap() error { return e.Err }

// ReadSnapshot reads the file at path. An empty file, or null, is an empty snapshot. What cannot be a whole snapshot is a
// *SnapshotError; other errors are those of the file system. A record that cannot be read is returned as one of broken,
// and does not hide the others.
func ReadSnapshot(path string) (s Snapshot, broken []error, err error) {
	file, err := os.Open(path)
	if err != nil {
		return s, nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSnapshot+1))
	if err != nil {
		return s, nil, err
	}
	if len(data) > maxSnapshot {
		return s, nil, &SnapshotError{path, fmt.Errorf("it is larger than %d bytes", maxSnapshot)}
	}
	if data = bytes.TrimSpace(data); len(data) == 0 || bytes.Equal(data, []byte("null")) {
		return s, nil, nil
	}
	var raw struct {
		Time      messaging.Seconds  `json:"time"`
		Instances *[]json.RawMessage `json:"instances"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return s, nil, &SnapshotError{path, err}
	}
	if raw.Instances == nil {
		return s, nil, &SnapshotError{path, fmt.Errorf(`it has no key "instances"`)}
	}
	s.Time = raw.Time
	for n, one := range *raw.Instances {
		var r Record
		if err := json.Unmarshal(one, &r); err != nil {
			broken = append(broken, fmt.Errorf("instances[%d]: %w", n, err))
			continue
		}
		s.Instances = append(s.Instances, r)
	}
	return s, broken, nil
}
