package cgroup

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Memory returns the bytes that the group uses, as the DEA counts them: anonymous memory and caches, without the files
// that were not used for a while.
func (g Group) Memory() (int64, error) {
	dir, v2 := g.dir("memory")
	if dir == "" {
		return 0, nil
	}
	stat, err := counters(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return 0, err
	}
	if v2 {
		return max(stat["anon"]+stat["file"]-stat["inactive_file"], 0), nil
	}
	return max(stat["total_rss"]+stat["total_cache"]-stat["total_inactive_file"], 0), nil
}

// CPUTime returns the processor time that the group used since it was made.
func (g Group) CPUTime() (time.Duration, error) {
	if dir, v2 := g.dir("cpuacct"); dir != "" && !v2 {
		text, err := read(dir, "cpuacct.usage")
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(text, 10, 64)
		return time.Duration(ns), err
	}
	if g.h.unified == "" {
		return 0, nil
	}
	stat, err := counters(filepath.Join(g.unified(), "cpu.stat"))
	return time.Duration(stat["usage_usec"]) * time.Microsecond, err
}

// Processes returns the processes of the group, in no particular order.
func (g Group) Processes() ([]int, error) {
	dir := g.any()
	if dir == "" {
		return nil, nil
	}
	pids, err := processesOf(dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) { // it was removed, maybe meanwhile
		return nil, nil
	}
	return pids, err
}

// any returns the directory of the group in the hierarchy that is the surest to have all of its processes.
func (g Group) any() string {
	for _, controller := range []string{"pids", "memory", "cpu", "devices"} {
		if dir, _ := g.dir(controller); dir != "" {
			return dir
		}
	}
	if mounts := g.h.mounts(); len(mounts) > 0 {
		return filepath.Join(mounts[0], g.path)
	}
	return ""
}

// OOMKills returns how many processes the kernel ended because the group used too much memory.
func (g Group) OOMKills() (int64, error) {
	dir, v2 := g.dir("memory")
	if dir == "" {
		return 0, nil
	}
	name := "memory.oom_control"
	if v2 {
		name = "memory.events"
	}
	stat, err := counters(filepath.Join(dir, name))
	return stat["oom_kill"], err
}

// counters reads a file with lines of a name and a number.
func counters(path string) (map[string]int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	stat := map[string]int64{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseInt(value, 10, 64); ok && err == nil {
			stat[name] = n
		}
	}
	return stat, lines.Err()
}
