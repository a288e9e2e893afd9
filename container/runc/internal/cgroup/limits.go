package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Limits bound a group. Zero means no limit.
type Limits struct {
	MemoryBytes int64   // with swap
	CPUShares   int64   // as of version 1, where 1024 is the default
	CPUQuota    float64 // cores
	PIDs        int64   // processes and threads
}

// Period is the time, in microseconds, in which a CPUQuota is used up.
const Period = 100_000

// minQuota is the least that the kernel takes, in microseconds.
const minQuota = 1000

// Quota returns the processor time for each Period, in microseconds; -1 means no limit.
func (l Limits) Quota() int64 {
	if l.CPUQuota == 0 {
		return -1
	}
	return int64(max(math.Ceil(min(l.CPUQuota, 1e6)*Period), minQuota))
}

// Shares returns the shares within the bounds of the kernel.
func (l Limits) Shares() uint64 {
	if l.CPUShares == 0 {
		return 1024
	}
	return uint64(min(max(l.CPUShares, 2), 262144))
}

// Weight returns the shares as version 2 counts them, as the OCI runtimes of before 2025 do: 2 to 262144 become 1 to
// 10000.
func (l Limits) Weight() uint64 { return 1 + (l.Shares()-2)*9999/262142 }

// SetLimits replaces the limits of the group. What there is no controller for is passed over.
func (g Group) SetLimits(l Limits) error {
	for _, set := range []struct {
		controller string
		v1, v2     func(dir string, l Limits) error
	}{
		{"memory", setMemory1, setMemory2},
		{"cpu", setCPU1, setCPU2},
		{"pids", setPIDs, setPIDs},
	} {
		dir, v2 := g.dir(set.controller)
		if dir == "" {
			continue
		}
		apply := set.v1
		if v2 {
			apply = set.v2
		}
		if err := apply(dir, l); err != nil {
			return fmt.Errorf("set %s limit: %w", set.controller, err)
		}
	}
	return nil
}

func setMemory1(dir string, l Limits) error {
	value := "-1"
	if l.MemoryBytes > 0 {
		value = strconv.FormatInt(l.MemoryBytes, 10)
	}
	// Buffers of TCP sockets are counted apart, and there is not much room for those of the whole machine.
	if err := write(dir, "memory.kmem.tcp.limit_in_bytes", value); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// Memory with swap can never be limited to less than memory alone: up, it goes first, and down, last.
	const memory, both = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	err := write(dir, both, value)
	if errors.Is(err, os.ErrNotExist) { // swap is not counted here
		return write(dir, memory, value)
	}
	if errors.Is(err, unix.EINVAL) {
		if err := write(dir, memory, value); err != nil {
			return err
		}
		return write(dir, both, value)
	}
	if err != nil {
		return err
	}
	return write(dir, memory, value)
}

func setMemory2(dir string, l Limits) error {
	value, swap := "max", "max"
	if l.MemoryBytes > 0 {
		value, swap = strconv.FormatInt(l.MemoryBytes, 10), "0"
	}
	if err := write(dir, "memory.swap.max", swap); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return write(dir, "memory.max", value)
}

func setCPU1(dir string, l Limits) error {
	if err := write(dir, "cpu.shares", strconv.FormatUint(l.Shares(), 10)); err != nil {
		return err
	}
	err := write(dir, "cpu.cfs_quota_us", strconv.FormatInt(l.Quota(), 10))
	if errors.Is(err, os.ErrNotExist) && l.CPUQuota == 0 { // a kernel without quotas
		return nil
	}
	return err
}

func setCPU2(dir string, l Limits) error {
	if err := write(dir, "cpu.weight", strconv.FormatUint(l.Weight(), 10)); err != nil {
		return err
	}
	quota := "max"
	if l.CPUQuota > 0 {
		quota = strconv.FormatInt(l.Quota(), 10)
	}
	err := write(dir, "cpu.max", fmt.Sprintf("%s %d", quota, Period))
	if errors.Is(err, os.ErrNotExist) && l.CPUQuota == 0 {
		return nil
	}
	return err
}

func setPIDs(dir string, l Limits) error {
	value := "max"
	if l.PIDs > 0 {
		value = strconv.FormatInt(l.PIDs, 10)
	}
	return write(dir, "pids.max", value)
}

// HasQuota tells whether the kernel has quotas of processor time. It needs a group that exists.
func (g Group) HasQuota() bool {
	dir, v2 := g.dir("cpu")
	name := "cpu.cfs_quota_us"
	if v2 {
		name = "cpu.max"
	}
	_, err := os.Stat(filepath.Join(dir, name))
	return dir != "" && err == nil
}
