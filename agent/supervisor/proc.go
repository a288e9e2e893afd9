package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/deakit/deakit/messaging"
)

// ticksPerSecond is the unit of times in /proc, which is the same on all of Linux that Go runs on.
const ticksPerSecond = 100

// A processID names one process: the number alone may be another one's by now.
type processID struct {
	pid   int
	start uint64 // ticks since the machine came up
}

// A processStat is what /proc tells of a process.
type processStat struct {
	processID
	state byte
	ticks uint64 // of processor time
}

var errGone = errors.New("the process is gone")

// readPIDFile returns the process that a file names. It fails with errGone when that has ended.
func readPIDFile(name string) (processStat, error) {
	f, err := os.Open(name)
	if err != nil {
		return processStat{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return processStat{}, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 || pid == os.Getpid() { // what a job writes there is signalled
		return processStat{}, fmt.Errorf("pidfile %s holds no id of a job's process", name)
	}
	return readProcess(pid)
}

// Running tells whether the process runs that the pid file names.
func (d Definition) Running() bool {
	_, err := readPIDFile(d.PIDFile)
	return err == nil
}

// readProcess fails with errGone for a process that has ended, also while nobody has asked how.
func readProcess(pid int) (processStat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return processStat{}, fmt.Errorf("process %d: %w", pid, errGone)
	}
	_, after, _ := strings.Cut(string(data), ") ") // the name, which may have anything in it, ends with the last one
	for {
		_, more, found := strings.Cut(after, ") ")
		if !found {
			break
		}
		after = more
	}
	fields := strings.Fields(after) // from the third one of proc(5) on
	if len(fields) < 20 {
		return processStat{}, fmt.Errorf("process %d: stat has %d fields", pid, len(fields))
	}
	user, errUser := strconv.ParseUint(fields[11], 10, 64)
	system, errSystem := strconv.ParseUint(fields[12], 10, 64)
	start, errStart := strconv.ParseUint(fields[19], 10, 64)
	if err := errors.Join(errUser, errSystem, errStart); err != nil {
		return processStat{}, fmt.Errorf("process %d: %w", pid, err)
	}
	stat := processStat{processID{pid, start}, fields[0][0], user + system}
	if stat.state == 'Z' || stat.state == 'X' {
		return processStat{}, fmt.Errorf("process %d: %w", pid, errGone)
	}
	return stat, nil
}

// alive tells whether this very process still runs.
func (id processID) alive() bool {
	stat, err := readProcess(id.pid)
	return err == nil && stat.processID == id
}

// measure fills in the figures of a process that runs. Children are not counted. What cannot be read stays 0.
func (id processID) measure(p *messaging.AgentProcess) {
	stat, err := readProcess(id.pid)
	if err != nil || stat.processID != id {
		return
	}
	up, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return
	}
	first, _, _ := strings.Cut(string(up), " ")
	now, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return
	}
	age := now - float64(id.start)/ticksPerSecond
	p.Uptime.Seconds = messaging.Int(max(age, 0))
	if age > 0 {
		p.CPU.Total = oneDigit(100 * float64(stat.ticks) / ticksPerSecond / age)
	}
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", id.pid))
	if err != nil {
		return
	}
	if fields := strings.Fields(string(statm)); len(fields) > 1 {
		if pages, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
			p.Memory.KB = messaging.Int(pages * int64(os.Getpagesize()) >> 10)
		}
	}
	if total := totalMemoryKB(); total > 0 {
		p.Memory.Percent = oneDigit(100 * float64(p.Memory.KB) / float64(total))
	}
}

func oneDigit(f float64) float64 { return float64(int64(f*10+0.5)) / 10 }

func totalMemoryKB() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 || fields[0] != "MemTotal:" {
		return 0
	}
	kb, _ := strconv.ParseInt(fields[1], 10, 64)
	return kb
}

// timeout of a command, or the default of monit.
func (c Command) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return 30 * time.Second
}
