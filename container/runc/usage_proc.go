package runc

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/deakit/deakit/container"
)

// ticksPerSecond is the unit of times in /proc, USER_HZ: 100 on every architecture that Go supports on Linux.
const ticksPerSecond = 100

// usageByProcesses measures by control groups as far as there are any, and else by the container's own process table.
func (c *box) usageByProcesses(ctx context.Context) (u container.Usage, err error) {
	t := c.processTable()
	u.Processes, u.MemoryBytes = t.processes, t.memory
	cpu := t.cpu
	group := c.group()
	if c.b.groups.CountsCPU() {
		if cpu, err = group.CPUTime(); err != nil {
			return u, err
		}
	}
	c.mu.Lock()
	c.cpuKnown = max(c.cpuKnown, cpu) // what ended with the container is lost from sight
	u.CPUTime = c.cpuKnown
	c.mu.Unlock()
	u.DiskBytes, err = c.disk.Used(ctx)
	u.At = time.Now()
	if gone := c.usable(ctx); err != nil && gone != nil { // destroyed meanwhile
		return u, gone
	}
	return u, err
}

// A processTable sums up the processes of a container, but for the supervisor.
type processTable struct {
	processes int
	memory    int64         // bytes: resident ones, and of those that processes share, the most that one has
	cpu       time.Duration // also of processes that have ended
}

// processTable reads /proc of the container, where no other processes are. It is empty when the container has ended.
func (c *box) processTable() (t processTable) {
	proc := filepath.Join(c.init.root(), "proc")
	entries, err := os.ReadDir(proc)
	if err != nil || !c.init.lives() {
		return processTable{}
	}
	var largest int64
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join(proc, e.Name())
		cpu, dead, err := cpuOf(dir)
		if err != nil {
			continue // it has ended
		}
		t.cpu += cpu
		if pid == 1 {
			continue
		}
		if !dead {
			t.processes++
		}
		own, shared := memoryOf(dir)
		t.memory += own
		largest = max(largest, shared)
	}
	t.memory += largest
	if !c.init.lives() { // it was another's, maybe
		return processTable{}
	}
	return t
}

// cpuOf returns the processor time of a process and of those that it waited for, and whether it is but a zombie.
func cpuOf(dir string) (used time.Duration, dead bool, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0, false, err
	}
	// proc_pid_stat(5): the second field, in parentheses, can hold anything; times are the 14th to 17th.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return 0, false, fmt.Errorf("%s/stat: unexpected text", dir)
	}
	for _, field := range fields[11:15] {
		ticks, _ := strconv.ParseInt(string(field), 10, 64)
		used += time.Duration(ticks) * (time.Second / ticksPerSecond)
	}
	return used, fields[0][0] == 'Z', nil
}

// memoryOf returns the resident bytes of a process: its own, and those of files and of memory shared with others.
func memoryOf(dir string) (own, shared int64) {
	text, err := os.ReadFile(filepath.Join(dir, "statm"))
	fields := bytes.Fields(text)
	if err != nil || len(fields) < 3 {
		return 0, 0
	}
	page := int64(os.Getpagesize())
	resident, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	mapped, _ := strconv.ParseInt(string(fields[2]), 10, 64)
	return max(resident-mapped, 0) * page, mapped * page
}

// memoryInterval is how often the memory of containers is looked at where no control group limits it.
const memoryInterval = time.Second

// watchMemory stops the containers that use more memory than they may, until the back end ends.
func (b *Backend) watchMemory() {
	tick := time.NewTicker(memoryInterval)
	defer tick.Stop()
	for {
		select {
		case <-b.ended:
			return
		case <-tick.C:
		}
		for _, c := range b.fleet.All() {
			c.mu.Lock()
			limit, active := c.limits.MemoryBytes, c.state == container.StateActive && c.removal == nil
			c.mu.Unlock()
			if limit == 0 || !active {
				continue
			}
			if used := c.processTable().memory; used > limit {
				b.log.Info("container is out of memory", "handle", c.handle, "used_bytes", used, "limit_bytes", limit)
				c.end(true, container.EventOutOfMemory)
			}
		}
	}
}
