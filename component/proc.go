package component

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is the processor time that this process has used.
func cpuTime() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage) // fails on bad arguments only
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// residentMemory returns the bytes of memory that this process occupies.
func residentMemory(proc fs.FS) (int64, error) {
	data, err := fs.ReadFile(proc, "self/statm")
	if err != nil {
		return 0, fmt.Errorf("memory of the process: %w", err)
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0, fmt.Errorf("memory of the process: %d fields in self/statm", len(fields))
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("memory of the process: %w", err)
	}
	return pages * int64(os.Getpagesize()), nil
}

// hostFigures tell how the machine is.
type hostFigures struct {
	load       float64 // average over one minute
	used, free int64   // bytes of memory; what caches would give back counts as free
}

func readHost(proc fs.FS) (hostFigures, error) {
	var h hostFigures
	data, err := fs.ReadFile(proc, "loadavg")
	if err != nil {
		return h, fmt.Errorf("load of the machine: %w", err)
	}
	first, _, _ := strings.Cut(string(data), " ")
	if h.load, err = strconv.ParseFloat(first, 64); err != nil {
		return h, fmt.Errorf("load of the machine: %w", err)
	}
	if data, err = fs.ReadFile(proc, "meminfo"); err != nil {
		return h, fmt.Errorf("memory of the machine: %w", err)
	}
	kilobytes := map[string]int64{}
	for line := range strings.Lines(string(data)) {
		var name string
		var kB int64
		if n, _ := fmt.Sscanf(line, "%s %d", &name, &kB); n == 2 { // other lines are not ours to judge
			kilobytes[name] = kB
		}
	}
	total, ok1 := kilobytes["MemTotal:"]
	available, ok2 := kilobytes["MemAvailable:"]
	if !ok1 || !ok2 {
		return h, fmt.Errorf("memory of the machine: meminfo lacks MemTotal or MemAvailable")
	}
	h.used, h.free = (total-available)<<10, available<<10
	return h, nil
}
