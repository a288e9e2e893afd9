package vitals

import (
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/deakit/deakit/messaging"
)

// maxProcFile bounds what is read of a file, in bytes: a machine with very many processors has a long stat.
const maxProcFile = 1 << 20

func (s *Source) read(name string) (string, error) {
	f, err := s.cfg.Proc.Open(name)
	if err != nil {
		return "", fmt.Errorf("vitals: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxProcFile))
	if err != nil {
		return "", fmt.Errorf("vitals: read %s: %w", name, err)
	}
	return string(data), nil
}

func unreadable(name string) error {
	return fmt.Errorf("vitals: %s is not in the form that Linux gives it: %w", name, fs.ErrInvalid)
}

// cpuTimes are what the processors have done since the machine came up, in ticks.
type cpuTimes struct{ user, system, wait, total uint64 }

// cpuShare is what they do, in percent.
type cpuShare struct{ user, system, wait float64 }

// cpuTimes reads the line "cpu user nice system idle iowait irq softirq steal guest ...". Guests are in user already.
func (s *Source) cpuTimes() (cpuTimes, error) {
	text, err := s.read("stat")
	if err != nil {
		return cpuTimes{}, err
	}
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 6 || fields[0] != "cpu" {
		return cpuTimes{}, unreadable("stat")
	}
	var t cpuTimes
	for i, field := range fields[1:min(len(fields), 9)] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return cpuTimes{}, unreadable("stat")
		}
		t.total += n
		switch i {
		case 0, 1:
			t.user += n
		case 2:
			t.system = n
		case 4:
			t.wait = n
		}
	}
	return t, nil
}

// since returns the shares between two readings. Counters that go backwards, as iowait may, count as standing still.
func (t cpuTimes) since(before cpuTimes) cpuShare {
	diff := func(now, then uint64) uint64 { return max(now, then) - then }
	total := diff(t.total, before.total)
	return cpuShare{
		user:   percent(diff(t.user, before.user), total),
		system: percent(diff(t.system, before.system), total),
		wait:   percent(diff(t.wait, before.wait), total),
	}
}

// readLoad returns the averages over 1, 5 and 15 minutes.
func (s *Source) readLoad() ([]messaging.Text, error) {
	text, err := s.read("loadavg")
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(text)
	if len(fields) < 3 {
		return nil, unreadable("loadavg")
	}
	var load []messaging.Text
	for _, field := range fields[:3] {
		average, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return nil, unreadable("loadavg")
		}
		load = append(load, messaging.Text(strconv.FormatFloat(average, 'f', 2, 64)))
	}
	return load, nil
}

// readMemory returns what programs occupy of memory, without buffers and caches, and of swap.
func (s *Source) readMemory() (mem, swap *messaging.AgentMemory, err error) {
	text, err := s.read("meminfo")
	if err != nil {
		return nil, nil, err
	}
	kb := map[string]uint64{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		if n, err := strconv.ParseUint(fields[0], 10, 64); err == nil { // other lines are not ours to judge
			kb[name] = n
		}
	}
	if kb["MemTotal"] == 0 {
		return nil, nil, unreadable("meminfo")
	}
	of := func(total, free uint64) *messaging.AgentMemory {
		used := max(total, free) - free
		return &messaging.AgentMemory{KB: messaging.Text(strconv.FormatUint(used, 10)), Percent: noDigit(percent(used, total))}
	}
	return of(kb["MemTotal"], kb["MemFree"]+kb["Buffers"]+kb["Cached"]), of(kb["SwapTotal"], kb["SwapFree"]), nil
}

func (s *Source) readUptime() (*messaging.AgentUptime, error) {
	text, err := s.read("uptime")
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(text, " ")
	seconds, err := strconv.ParseFloat(strings.TrimSpace(first), 64)
	if err != nil || !(seconds >= 0 && seconds < 1e12) {
		return nil, unreadable("uptime")
	}
	return &messaging.AgentUptime{Seconds: messaging.Int(seconds)}, nil
}
