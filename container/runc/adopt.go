package runc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc/internal/network"
	"github.com/deakit/deakit/container/runc/internal/rootfs"
	"github.com/deakit/deakit/container/runc/internal/supervisor"
	"github.com/deakit/deakit/internal/containerkit"
	"github.com/deakit/deakit/internal/hostport"
)

// takeOver adopts what a predecessor left in the depot, and removes what cannot be adopted.
func (b *Backend) takeOver() error {
	entries, err := fs.ReadDir(b.depot.root.FS(), ".")
	if err != nil {
		return err
	}
	var doomed []string
	for _, e := range entries {
		if e.Name()[0] == '.' {
			continue
		}
		if b.opts.Fresh {
			doomed = append(doomed, e.Name())
			continue
		}
		c, err := b.restore(e.Name())
		log := b.log.With("depot", b.depot.dir, "handle", e.Name())
		switch {
		case err == nil:
			log.Info("adopting a container that an earlier back end left", "state", c.state, "processes", len(c.procs))
			b.fleet.Add(c.handle, c)
		case errors.Is(err, errBadRecord), errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
			log.Warn("removing a container that cannot be adopted", "error", err)
			doomed = append(doomed, e.Name())
		default:
			return fmt.Errorf("adopt container %s: %w", e.Name(), err)
		}
	}
	if err := b.sweep(doomed); err != nil {
		return err
	}
	if err := b.setUpNetwork(); err != nil {
		return err
	}
	for _, c := range b.fleet.All() {
		if err := c.resume(); err != nil {
			return fmt.Errorf("adopt container %s: %w", c.handle, err)
		}
	}
	return nil
}

// sweep removes the named containers, and whatever else carries the mark of the depot and is of no container.
func (b *Backend) sweep(doomed []string) error {
	// Groups and what runc remembers of containers whose directory is gone already.
	groups, err := b.groups.Children(b.groupPath(""))
	if err != nil {
		return err
	}
	states, err := fs.ReadDir(b.depot.root.FS(), stateName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	doomed = append(doomed, groups...)
	for _, e := range states {
		doomed = append(doomed, e.Name())
	}
	for _, handle := range doomed {
		if b.fleet.Find(handle) != nil {
			continue
		}
		if err := b.removeTraces(handle); err != nil {
			return fmt.Errorf("remove what is left of container %s: %w", handle, err)
		}
	}
	if b.net == nil {
		return nil
	}
	kept := map[int]bool{}
	for _, c := range b.fleet.All() {
		kept[c.slot.index] = true
	}
	return b.net.Sweep(func(index int) bool { return kept[index] })
}

// setUpNetwork makes the rules, for all containers that were adopted at once.
func (b *Backend) setUpNetwork() error {
	if b.net == nil {
		return nil
	}
	changed, err := network.EnableForwarding()
	if err != nil {
		return fmt.Errorf("let packets be forwarded: %w: %w", err, ErrMissing)
	}
	if changed {
		b.log.Warn("this machine forwards packets from now on (net.ipv4.ip_forward), without which containers have no network")
	}
	var states []network.State
	for _, c := range b.fleet.All() {
		s := network.State{Index: c.slot.index, Rules: c.egress}
		for _, p := range c.ports {
			s.Ports = append(s.Ports, p.mapping())
		}
		states = append(states, s)
	}
	if err := b.net.Setup(states); err != nil {
		return fmt.Errorf("%w: %w: it takes nftables in the kernel, or Options.Network.Host", err, ErrMissing)
	}
	return nil
}

// restore makes a container of what is written down about it, and touches nothing.
func (b *Backend) restore(handle string) (_ *box, err error) {
	if containerkit.CheckHandle(handle) != nil {
		return nil, fmt.Errorf("%w: this is no name of a container", errBadRecord)
	}
	r, err := b.loadRecord(handle)
	if err != nil {
		return nil, err
	}
	c := b.newBox(handle)
	c.mounts, c.env, c.properties = r.Mounts, r.Env, r.Properties
	c.limits, c.egress, c.state, c.events, c.killed = r.Limits, r.Egress, r.State, r.Events, r.Killed
	c.init.pid, c.init.start = r.InitPID, r.InitStart

	disk := b.disk
	disk.Mode = r.DiskMode
	if c.disk, err = rootfs.OpenDisk(disk, c.dir, r.DiskBase); err != nil {
		return nil, fmt.Errorf("%w: %w", errBadRecord, err)
	}
	if c.status, err = supervisor.OpenStatus(c.path(statusName)); err != nil {
		return nil, err
	}
	if err := c.restoreProcesses(); err != nil {
		c.status.Close()
		return nil, err
	}
	lives, err := c.init.reopen()
	if err == nil {
		c.slot, err = b.slots.hold(r.Slot)
	}
	if err != nil {
		c.init.close()
		c.status.Close()
		return nil, err
	}
	if !lives {
		close(c.ended)
	}
	for _, p := range r.Ports {
		port := hostport.Held(p.Host)
		_ = port.Hold() // there is nothing to be done when someone else took it meanwhile
		c.ports = append(c.ports, &boundPort{port, p.Container})
	}
	return c, nil
}

func (c *box) restoreProcesses() (err error) {
	if c.lastID, err = c.status.Last(); err != nil {
		return err
	}
	for id := uint32(1); id <= c.lastID; id++ {
		st, err := c.status.Read(id)
		if err != nil {
			return err
		}
		if st.Started {
			c.procs[id] = newProcess(c, id)
		}
	}
	return nil
}

// resume takes up the life of a container of an earlier back end. It is called once, before anybody sees the container.
func (c *box) resume() error {
	for _, p := range c.procs {
		if err := p.reconnect(); err != nil {
			return err
		}
	}
	// What was being ended goes on to be; before anything else could begin to end it.
	ended := c.hasEnded()
	c.mu.Lock()
	if c.state == container.StateStopped {
		c.beginEnding()
	}
	c.mu.Unlock()
	if !ended {
		if err := c.begin(); err != nil {
			return err
		}
	}
	c.collect(ended)
	for _, p := range c.procs {
		c.b.work.Go(p.follow)
	}
	if ended {
		event := ""
		if c.outOfMemory() {
			event = container.EventOutOfMemory
		}
		c.end(true, event) // if nobody had
	}
	return nil
}

// reconnect opens the streams of a process that an earlier back end started, as far as they are still there.
func (p *process) reconnect() error {
	for _, s := range []struct {
		name string
		at   **containerkit.Fanout
	}{{"out", &p.out}, {"err", &p.errOut}} {
		opened, err := openStream(p.box.streamPath(p.id, s.name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		*s.at = &opened.Fanout
		p.streams = append(p.streams, opened)
	}
	return nil
}
