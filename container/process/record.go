package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
)

// recordName is the file in which a container is written down, for the back end that adopts it. It holds the
// environment, and so secrets: nobody else may read it.
const recordName = "container.json"

const (
	recordVersion = 1
	recordLimit   = 16 << 20 // bytes
)

// errBadRecord: the record is not one of a container of this depot.
var errBadRecord = errors.New("the record of the container cannot be used")

// A record is what a back end needs to know to adopt a container.
type record struct {
	Version    int                      `json:"version"`
	Marker     string                   `json:"marker"` // value of markerName in its processes
	Boot       uint64                   `json:"boot"`   // Backend.boot, without which ticks mean nothing
	Since      uint64                   `json:"since"`  // ticks
	Mounts     containerkit.ExactMounts `json:"mounts,omitempty"`
	Env        containerkit.ExactList   `json:"env,omitempty"`
	Properties containerkit.ExactMap    `json:"properties,omitempty"`
	Limits     container.Limits         `json:"limits"`
	Ports      []uint16                 `json:"ports,omitempty"`
	Egress     []container.EgressRule   `json:"egress,omitempty"`
	State      container.State          `json:"state"`
	Events     []string                 `json:"events,omitempty"`
	Killed     bool                     `json:"killed,omitempty"` // stopped without a grace time
	Doomed     bool                     `json:"doomed,omitempty"` // Destroy was called
}

// record describes the container as it is now. c.mu is held.
func (c *box) record() record {
	r := record{
		Version: recordVersion, Marker: c.marker, Boot: c.b.boot, Since: c.since,
		Mounts: c.mounts, Env: c.env, Properties: c.properties,
		Limits: c.limits, Egress: c.egress,
		State: c.state, Events: c.events, Killed: c.killed, Doomed: c.doomed,
	}
	for _, p := range c.ports {
		r.Ports = append(r.Ports, p.Number())
	}
	return r
}

// save writes down the container as it is now. c.mu is held.
func (c *box) save() error {
	return containerkit.SaveRecord(c.b.depot, path.Join(c.handle, recordName), c.record())
}

// loadRecord reads the record of a container, and checks that it is of this depot. It fails with fs.ErrNotExist when
// there is none, with errBadRecord when it is of no use, and with other errors when that is not known.
func (b *Backend) loadRecord(handle string) (record, error) {
	var r record
	f, err := openRegular(b.depot, path.Join(handle, recordName), os.O_RDONLY)
	if errors.Is(err, errNotRegular) {
		return r, fmt.Errorf("%w: %w", errBadRecord, err)
	}
	if err != nil {
		return r, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, recordLimit+1))
	if err != nil {
		return r, err
	}
	if len(text) > recordLimit {
		return r, fmt.Errorf("%w: it has more than %d bytes", errBadRecord, recordLimit)
	}
	return parseRecord(text, b.prefix+handle+".")
}

// parseRecord reads a record, whose marker must begin with prefix.
func parseRecord(text []byte, prefix string) (record, error) {
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%w: %w", errBadRecord, err)
	}
	switch {
	case r.Version > recordVersion:
		return r, fmt.Errorf("the record has version %d, of a later release: use that one, or set Options.Fresh", r.Version)
	case r.Version < 1 || r.State != container.StateActive && r.State != container.StateStopped:
		return r, fmt.Errorf("%w: it is not complete", errBadRecord)
	case !strings.HasPrefix(r.Marker, prefix):
		return r, fmt.Errorf("%w: it is of another depot or container, which was copied or moved here", errBadRecord)
	}
	return r, nil
}
