package process

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerkit"
	"github.com/deakit/deakit/internal/hostport"
)

// restore makes a container of its record and its process files, and touches nothing. Errors are fs.ErrNotExist or
// unix.ENOTDIR when something is missing, errBadRecord, and those that say nothing about the container.
func (b *Backend) restore(handle string) (*box, error) {
	if containerkit.CheckHandle(handle) != nil {
		return nil, fmt.Errorf("%w: this is no name of a container", errBadRecord)
	}
	r, err := b.loadRecord(handle)
	if err != nil {
		return nil, err
	}
	c := b.newBox(handle)
	c.marker = r.Marker
	if r.Boot == b.boot {
		c.since = r.Since
	} // else nothing tells
	c.mounts, c.env, c.properties = r.Mounts, r.Env, r.Properties
	for _, number := range r.Ports {
		c.ports = append(c.ports, hostport.Held(number))
	}
	c.limits, c.egress = r.Limits, r.Egress
	c.state, c.events, c.killed, c.doomed = r.State, r.Events, r.Killed, r.Doomed
	if c.root, err = b.depot.OpenRoot(path.Join(handle, rootfsName)); err != nil {
		return nil, err
	}
	if err := c.restoreProcesses(); err != nil {
		c.letGo()
		return nil, err
	}
	return c, nil
}

func (c *box) restoreProcesses() error {
	ids, err := c.processIDs()
	if err != nil {
		return err
	}
	for _, id := range ids {
		f, err := openRegular(c.b.depot, c.processFile(id), os.O_RDWR|os.O_APPEND)
		if errors.Is(err, errNotRegular) {
			return fmt.Errorf("%w: %w", errBadRecord, err)
		}
		if err != nil {
			return err
		}
		c.lastID = id
		life := readLife(f)
		if !life.begun {
			f.Close() // its program never began
			continue
		}
		if life.PID <= 1 || life.PID > math.MaxInt32 || life.KeeperPID > math.MaxInt32 {
			f.Close()
			return fmt.Errorf("%w: process %d has pid %d", errBadRecord, id, life.PID)
		}
		p, err := c.restoreProcess(id, f, life.birth)
		if err != nil {
			f.Close()
			return err
		}
		c.procs[id] = p
	}
	return nil
}

// restoreProcess returns a process of an earlier back end: as ended, or for follow to await.
func (c *box) restoreProcess(id uint32, f *os.File, born birth) (*process, error) {
	p := newProcess(c)
	p.id, p.life = id, f
	p.self = identity{int(born.PID), born.Start}
	p.keeper = identity{int(born.KeeperPID), born.KeeperStart}
	gone := born.Boot != c.b.boot
	if !gone {
		self, lives, err := find(p.self)
		if err != nil {
			return nil, err
		}
		_, kept, err := find(p.keeper)
		if err != nil {
			return nil, err
		}
		lives = lives && self.alive() && self.sid == self.pid // it leads its session: another check that it is the one
		gone = !lives && !kept
	}
	// Only now, as the supervisor writes before it ends.
	if life := readLife(f); life.ended || gone {
		p.finish(life)
		close(p.exited)
		close(p.done)
	}
	return p, nil
}

// letGo closes the files of a container that is not adopted after all.
func (c *box) letGo() {
	c.cancel(nil)
	for _, p := range c.procs {
		if !p.gone {
			p.life.Close()
		}
	}
	c.root.Close()
}

// resume takes up the work of an earlier back end: it awaits the processes, goes on ending those of a stopped container,
// and with the removal of one that was to be destroyed, which it returns. It is called once, before anybody sees the
// container.
func (c *box) resume() *removal {
	c.holdPorts()
	for _, p := range c.procs {
		if !p.gone {
			c.b.work.Go(p.follow)
		}
	}
	if c.doomed {
		r, _ := c.destroy()
		return r
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == container.StateStopped {
		c.beginEnding(c.killed)
	}
	return nil
}

// holdPorts takes the names of the ports that no supervisor has any more.
func (c *box) holdPorts() {
	c.mu.Lock()
	defer c.mu.Unlock()
	running := false
	for _, p := range c.procs {
		running = running || !p.gone
	}
	for _, port := range c.ports {
		if err := port.Hold(); err != nil && !running { // else its supervisors hold it
			c.b.log.Error("a port of an adopted container was taken by someone else meanwhile", "handle", c.handle, "port", port.Number())
		}
	}
}
