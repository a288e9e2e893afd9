package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/deakit/deakit/container"
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
	Version    int                    `json:"version"`
	Marker     string                 `json:"marker"` // value of markerName in its processes
	Boot       uint64                 `json:"boot"`   // Backend.boot, without which ticks mean nothing
	Since      uint64                 `json:"since"`  // ticks
	Mounts     []mountRecord          `json:"mounts,omitempty"`
	Env        []exact                `json:"env,omitempty"`
	Properties [][2]exact             `json:"properties,omitempty"`
	Limits     container.Limits       `json:"limits"`
	Ports      []uint16               `json:"ports,omitempty"`
	Egress     []container.EgressRule `json:"egress,omitempty"`
	State      container.State        `json:"state"`
	Events     []string               `json:"events,omitempty"`
	Killed     bool                   `json:"killed,omitempty"` // stopped without a grace time
	Doomed     bool                   `json:"doomed,omitempty"` // Destroy was called
}

type mountRecord struct {
	Src      exact `json:"src"`
	Dst      exact `json:"dst"`
	Writable bool  `json:"writable,omitempty"`
}

// exact is text that need not be UTF-8, as JSON demands: it is quoted as Go does.
type exact string

func (e exact) MarshalText() ([]byte, error) { return []byte(strconv.Quote(string(e))), nil }

func (e *exact) UnmarshalText(text []byte) error {
	plain, err := strconv.Unquote(string(text))
	*e = exact(plain)
	return err
}

func exactly(list []string) []exact {
	var out []exact
	for _, s := range list {
		out = append(out, exact(s))
	}
	return out
}

// record describes the container as it is now. c.mu is held.
func (c *box) record() record {
	r := record{
		Version: recordVersion, Marker: c.marker, Boot: c.b.boot, Since: c.since,
		Env:    exactly(c.env),
		Limits: c.limits, Egress: c.egress,
		State: c.state, Events: c.events, Killed: c.killed, Doomed: c.doomed,
	}
	for _, m := range c.mounts {
		r.Mounts = append(r.Mounts, mountRecord{exact(m.Src), exact(m.Dst), m.Writable})
	}
	for _, k := range slices.Sorted(maps.Keys(c.properties)) {
		r.Properties = append(r.Properties, [2]exact{exact(k), exact(c.properties[k])})
	}
	for _, p := range c.ports {
		r.Ports = append(r.Ports, p.Number())
	}
	return r
}

// save writes the record, in one step: whoever reads it finds the old or the new one. It is not forced to disk: it is
// for a successor on a machine that runs on, as processes do not survive anything else. c.mu is held.
func (c *box) save() error {
	text, err := json.MarshalIndent(c.record(), "", "\t")
	if err == nil {
		err = c.replaceRecord(text)
	}
	if err != nil {
		return fmt.Errorf("write the record of the container: %w", err)
	}
	return nil
}

func (c *box) replaceRecord(text []byte) error {
	name := path.Join(c.handle, recordName)
	next := name + ".next"
	f, err := c.b.depot.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return c.b.depot.Rename(next, name)
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
