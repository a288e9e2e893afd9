package runc

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

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
)

const (
	recordVersion = 1
	recordLimit   = 16 << 20 // bytes
)

// errBadRecord: the record is not one of a container of this depot.
var errBadRecord = errors.New("the record of the container cannot be used")

// A record is what a back end needs to know to adopt a container. It holds the environment, and so secrets: nobody else
// may read it.
type record struct {
	Version    int                    `json:"version"`
	Mark       string                 `json:"mark"`                // of the depot
	Boot       string                 `json:"boot"`                // without which pids mean nothing
	Namespace  string                 `json:"namespace,omitempty"` // without root: where its mounts are
	Shift      int                    `json:"user_namespace,omitempty"`
	Network    string                 `json:"network"` // the pool; empty if it is the host's
	Slot       int                    `json:"slot"`
	UID        int                    `json:"uid"`
	InitPID    int                    `json:"init_pid"`
	InitStart  uint64                 `json:"init_start"` // ticks
	DiskMode   DiskMode               `json:"disk_mode"`
	DiskBase   int64                  `json:"disk_base"` // bytes
	Mounts     []mountRecord          `json:"mounts,omitempty"`
	Env        []exact                `json:"env,omitempty"`
	Properties [][2]exact             `json:"properties,omitempty"`
	Limits     container.Limits       `json:"limits"`
	Ports      []portRecord           `json:"ports,omitempty"`
	Egress     []container.EgressRule `json:"egress,omitempty"`
	State      container.State        `json:"state"`
	Events     []string               `json:"events,omitempty"`
	Killed     bool                   `json:"killed,omitempty"` // stopped without a grace time
}

type mountRecord struct {
	Src      exact `json:"src"`
	Dst      exact `json:"dst"`
	Writable bool  `json:"writable,omitempty"`
}

type portRecord struct {
	Host      uint16 `json:"host"`
	Container uint16 `json:"container"`
}

// exact is text that need not be UTF-8, as JSON demands: it is quoted as Go does.
type exact string

func (e exact) MarshalText() ([]byte, error) { return []byte(strconv.Quote(string(e))), nil }

func (e *exact) UnmarshalText(text []byte) error {
	plain, err := strconv.Unquote(string(text))
	*e = exact(plain)
	return err
}

// networkName tells in records which pool the slots are of.
func (b *Backend) networkName() string {
	if b.net == nil {
		return ""
	}
	return b.opts.Network.Pool
}

// save writes down the container as it is now. The file is replaced in one step, but not forced to disk: it is for a
// successor on a machine that runs on, as containers do not survive anything else. c.mu is held, or nobody sees c yet.
func (c *box) save() error {
	text, err := json.Marshal(c.record())
	if err == nil {
		err = c.replaceRecord(text)
	}
	if err != nil {
		return fmt.Errorf("write the record of the container: %w", err)
	}
	return nil
}

func (c *box) record() record {
	r := record{
		Version: recordVersion, Mark: c.b.depot.mark, Boot: c.b.boot, Namespace: c.b.namespace(), Shift: c.b.opts.UserNamespace, Network: c.b.networkName(),
		Slot: c.slot.index, UID: c.slot.uid, InitPID: c.init.pid, InitStart: c.init.start,
		DiskMode: c.disk.Mode, DiskBase: c.disk.Base(),
		Limits: c.limits, Egress: c.egress, State: c.state, Events: c.events, Killed: c.killed,
	}
	for _, m := range c.mounts {
		r.Mounts = append(r.Mounts, mountRecord{exact(m.Src), exact(m.Dst), m.Writable})
	}
	for _, entry := range c.env {
		r.Env = append(r.Env, exact(entry))
	}
	for _, k := range slices.Sorted(maps.Keys(c.properties)) {
		r.Properties = append(r.Properties, [2]exact{exact(k), exact(c.properties[k])})
	}
	for _, p := range c.ports {
		r.Ports = append(r.Ports, portRecord{p.Number(), p.inside})
	}
	return r
}

func (c *box) replaceRecord(text []byte) error {
	name := path.Join(c.handle, recordName)
	next := name + ".next"
	if err := c.b.depot.root.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return c.b.depot.root.Rename(next, name)
}

// loadRecord reads the record of a container, and checks that it is of this depot. It fails with fs.ErrNotExist when
// there is none, with errBadRecord when it is of no use, and with other errors when that is not known.
func (b *Backend) loadRecord(handle string) (r record, err error) {
	f, err := b.depot.root.OpenFile(path.Join(handle, recordName), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return r, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, recordLimit))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%w: %w", errBadRecord, err)
	}
	switch {
	case r.Version > recordVersion:
		return r, fmt.Errorf("record of container %s has version %d, made by a later release: use that", handle, r.Version)
	case r.Version < 1 || r.State != container.StateActive && r.State != container.StateStopped || r.InitPID <= 1:
		return r, fmt.Errorf("%w: it is not complete", errBadRecord)
	case r.Mark != b.depot.mark:
		return r, fmt.Errorf("%w: it is of another depot, which was copied or moved here", errBadRecord)
	case r.Boot != b.boot:
		return r, fmt.Errorf("%w: the machine was started anew, and the container is gone", errBadRecord)
	case r.Namespace != b.namespace():
		return r, fmt.Errorf("%w: it was made in a user namespace that has ended", errBadRecord)
	case r.Network != b.networkName() || r.UID != b.slots.uid(r.Slot) || r.Shift != b.opts.UserNamespace:
		return r, fmt.Errorf("container %s was made with other options: Network, UIDs and UserNamespace must not change while there are containers",
			handle)
	}
	return r, nil
}
