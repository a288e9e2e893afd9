package runc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
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
	Version    int                      `json:"version"`
	Mark       string                   `json:"mark"`                // of the depot
	Boot       string                   `json:"boot"`                // without which pids mean nothing
	Namespace  string                   `json:"namespace,omitempty"` // without root: where its mounts are
	Shift      int                      `json:"user_namespace,omitempty"`
	Network    string                   `json:"network"` // the pool; empty if it is the host's
	Slot       int                      `json:"slot"`
	UID        int                      `json:"uid"`
	InitPID    int                      `json:"init_pid"`
	InitStart  uint64                   `json:"init_start"` // ticks
	DiskMode   DiskMode                 `json:"disk_mode"`
	DiskBase   int64                    `json:"disk_base"` // bytes
	Mounts     containerkit.ExactMounts `json:"mounts,omitempty"`
	Env        containerkit.ExactList   `json:"env,omitempty"`
	Properties containerkit.ExactMap    `json:"properties,omitempty"`
	Limits     container.Limits         `json:"limits"`
	Ports      []portRecord             `json:"ports,omitempty"`
	Egress     []container.EgressRule   `json:"egress,omitempty"`
	State      container.State          `json:"state"`
	Events     []string                 `json:"events,omitempty"`
	Killed     bool                     `json:"killed,omitempty"` // stopped without a grace time
}

type portRecord struct {
	Host      uint16 `json:"host"`
	Container uint16 `json:"container"`
}

// networkName tells in records which pool the slots are of.
func (b *Backend) networkName() string {
	if b.net == nil {
		return ""
	}
	return b.opts.Network.Pool
}

// save writes down the container as it is now. c.mu is held, or nobody sees c yet.
func (c *box) save() error {
	return containerkit.SaveRecord(c.b.depot.root, path.Join(c.handle, recordName), c.record())
}

func (c *box) record() record {
	r := record{
		Version: recordVersion, Mark: c.b.depot.mark, Boot: c.b.boot, Namespace: c.b.namespace(), Shift: c.b.opts.UserNamespace, Network: c.b.networkName(),
		Slot: c.slot.index, UID: c.slot.uid, InitPID: c.init.pid, InitStart: c.init.start,
		DiskMode: c.disk.Mode, DiskBase: c.disk.Base(),
		Mounts: c.mounts, Env: c.env, Properties: c.properties,
		Limits: c.limits, Egress: c.egress, State: c.state, Events: c.events, Killed: c.killed,
	}
	for _, p := range c.ports {
		r.Ports = append(r.Ports, portRecord{p.Number(), p.inside})
	}
	return r
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
