package warden

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/warden/protocol"
	"github.com/deakit/deakit/internal/containerkit"
)

// A box is a container of the server.
type box struct {
	b       *Backend
	handle  string
	foreign bool // made by another client: there is no exchange directory

	mu        sync.Mutex // held also while the record is written
	record    record
	rootKnown bool // always, unless foreign or half made when its maker died
	procs     map[uint32]*clientProcess
	lastID    uint32
}

func (b *Backend) newBox(handle string, r record) *box {
	return &box{b: b, handle: handle, record: r, rootKnown: true, procs: map[uint32]*clientProcess{}}
}

// load makes the box of a container that an earlier Backend, or another client, made. jobs are those that run in it.
// No other is loaded meanwhile.
func (b *Backend) load(handle string, jobs []uint64) (*box, error) {
	r, err := b.state.load(handle)
	if errors.Is(err, fs.ErrNotExist) {
		c := b.newBox(handle, record{})
		c.foreign, c.rootKnown = true, false
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	if err := b.state.clearExchange(handle); err != nil {
		return nil, err
	}
	known, err := b.state.loadProcesses(handle)
	if err != nil {
		return nil, err
	}
	c := b.newBox(handle, r)
	c.rootKnown = r.Whole
	for id, p := range known {
		c.lastID = max(c.lastID, id)
		c.procs[id] = c.restore(id, p)
	}
	return c, c.adoptUnknown(jobs)
}

// adoptUnknown gives numbers to running jobs of which nothing was written down: their maker died before it could.
func (c *box) adoptUnknown(jobs []uint64) error {
	for _, p := range c.procs {
		jobs = slices.DeleteFunc(jobs, func(id uint64) bool { return id == uint64(p.job) })
	}
	for _, id := range jobs {
		c.lastID++
		r := processRecord{Job: uint32(id)}
		c.procs[c.lastID] = c.restore(c.lastID, r)
		if err := c.b.state.saveProcess(c.handle, c.lastID, r); err != nil {
			return err
		}
	}
	return nil
}

// Handle is the name of the container.
func (c *box) Handle() string { return c.handle }

func (c *box) dir() string { return c.b.state.dir(c.handle) }

// save writes the record. c.mu is held, or nobody else knows the box.
func (c *box) save() error {
	if c.foreign {
		return nil
	}
	return c.b.state.save(c.handle, c.record)
}

// fail says which operation failed.
func (c *box) fail(what string, err error) error {
	return fmt.Errorf("%s container %s: %w", what, c.handle, err)
}

// Info describes the container. Ports, limits and properties are those that came through this Backend or one before it
// with the same state directory.
func (c *box) Info(ctx context.Context) (container.Info, error) {
	r, err := c.b.info(ctx, c.handle)
	if err != nil {
		return container.Info{}, c.fail("info of", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	info := container.Info{
		State:       container.State(r.GetState()),
		Events:      r.GetEvents(),
		HostIP:      c.b.opts.HostIP,
		ContainerIP: r.GetContainerIp(),
		Path:        r.GetContainerPath(),
		Root:        c.record.Root,
		HostRoot:    hostRoot(r.GetContainerPath()),
		Ports:       slices.Clone(c.record.Ports),
		Limits:      containerkit.CloneLimits(c.record.Limits),
		Properties:  c.record.properties(),
	}
	if info.HostIP == "" {
		info.HostIP = r.GetHostIp()
	}
	for id, p := range c.procs {
		if slices.Contains(r.GetJobIds(), uint64(p.job)) {
			info.Processes = append(info.Processes, id)
		}
	}
	slices.Sort(info.Processes)
	return info, nil
}

// hostRoot finds the files of a container below its directory, where the DEA looks for them: the writable layer of an
// original, or what older ones and other back ends have.
func hostRoot(dir string) string {
	if dir == "" {
		return ""
	}
	for _, name := range []string{"tmp/rootfs", "rootfs"} {
		root := filepath.Join(dir, name)
		if _, err := os.Lstat(root + container.AppHome); err == nil {
			return root
		}
	}
	return ""
}

// Usage measures the container. What an original tells of processes is how many of those that clients started run.
func (c *box) Usage(ctx context.Context) (container.Usage, error) {
	request := &protocol.InfoRequest{Handle: &c.handle, CountProcesses: proto.Bool(true)}
	r, err := quick[*protocol.InfoResponse](ctx, c.b, request)
	if err != nil {
		return container.Usage{}, c.fail("measure", err)
	}
	processes := len(r.GetJobIds())
	if r.Processes != nil {
		processes = int(r.GetProcesses())
	}
	memory := r.GetMemoryStat()
	return container.Usage{
		MemoryBytes: int64(memory.GetTotalRss() + memory.GetTotalCache() - memory.GetTotalInactiveFile()),
		DiskBytes:   int64(r.GetDiskStat().GetBytesUsed()),
		CPUTime:     time.Duration(r.GetCpuStat().GetUsage()),
		Processes:   processes,
		At:          time.Now(),
	}, nil
}

// Destroy ends all processes at once and removes the container. It goes on trying while the server cannot be reached.
func (c *box) Destroy(ctx context.Context) error {
	if err := c.destroy(ctx); err != nil {
		return c.fail("destroy", err)
	}
	c.b.fleet.Forget(c.handle, c)
	if err := c.b.state.remove(c.handle); err != nil && !c.foreign {
		return c.fail("destroy", err)
	}
	return nil
}

func (c *box) destroy(ctx context.Context) error {
	kill := true
	var pause backoff
	for tried := false; ; tried = true {
		// Destroy alone would give processes time to end.
		_, err := call[*protocol.StopResponse](ctx, c.b.conns, &protocol.StopRequest{Handle: &c.handle, Kill: &kill})
		var refused *ServerError
		if err == nil || errors.As(err, &refused) && !errors.Is(err, container.ErrNotFound) {
			_, err = call[*protocol.DestroyResponse](ctx, c.b.conns, &protocol.DestroyRequest{Handle: &c.handle})
		}
		switch {
		case err == nil, tried && errors.Is(err, container.ErrNotFound): // the answer got lost
			return nil
		case !errors.Is(err, ErrConnection):
			return err
		}
		if pause.wait(ctx) != nil {
			return err
		}
	}
}

// Stop ends all processes. The request goes on when ctx ends. An original answers at once where the container is stopped
// already, even if processes are still being ended.
func (c *box) Stop(ctx context.Context, kill bool) error {
	if err := ctx.Err(); err != nil {
		return c.fail("stop", err)
	}
	answer := make(chan error, 1)
	err := c.b.fleet.Go(func() {
		request := &protocol.StopRequest{Handle: &c.handle, Kill: &kill, Wait: proto.Bool(true)}
		_, err := call[*protocol.StopResponse](c.b.ctx, c.b.conns, request)
		answer <- err
	})
	if err == nil {
		select {
		case err = <-answer:
		case <-ctx.Done():
			err = fmt.Errorf("its processes are still being ended: %w", ctx.Err())
		}
	}
	if err != nil {
		return c.fail("stop", err)
	}
	return nil
}

// present fails when the container is gone.
func (c *box) present(ctx context.Context) error {
	_, err := c.b.info(ctx, c.handle)
	return err
}
