package vitals

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/deakit/deakit/messaging"
)

// Config says what is measured.
type Config struct {
	// System, Ephemeral and Persistent are where the disks are mounted; defaults /, /var/vcap/data and /var/vcap/store. A disk
	// that is not mounted there is left out.
	System, Ephemeral, Persistent string

	// Unmounted takes each of these paths for what it is on, mounted or not: for an agent that has no disks of its own.
	Unmounted bool

	// Proc is the file system at /proc; nil is that of this machine.
	Proc fs.FS

	// Interval is how long the processors are watched for one figure; default 10 s.
	Interval time.Duration

	Logger *slog.Logger // nil discards
}

// A Source measures one machine. It may be used from several goroutines at once.
type Source struct {
	cfg Config
	log *slog.Logger

	mu       sync.Mutex
	cpu      cpuShare // over the last interval
	measured bool     // cpu is known
}

// New returns a Source with the defaults filled in. It starts nothing.
func New(cfg Config) *Source {
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	fill(&cfg.System, "/")
	fill(&cfg.Ephemeral, "/var/vcap/data")
	fill(&cfg.Persistent, "/var/vcap/store")
	if cfg.Proc == nil {
		cfg.Proc = os.DirFS("/proc")
	}
	if cfg.Interval <= 0 {
		cfg.Interval = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Source{cfg: cfg, log: cfg.Logger}
}

// Run watches the processors until ctx ends, and then returns nil.
func (s *Source) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.cfg.Interval)
	defer ticker.Stop()
	last, err := s.cpuTimes()
	for {
		if err != nil {
			s.log.Warn("vitals.cpu.failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		var now cpuTimes
		if now, err = s.cpuTimes(); err == nil {
			s.mu.Lock()
			s.cpu, s.measured = now.since(last), true
			s.mu.Unlock()
			last = now
		}
	}
}

// Read measures. Where Run has not watched for an interval yet, the processors are told since the machine came up. What cannot be
// measured is left out, and the error says why; the rest is good.
func (s *Source) Read() (messaging.AgentVitals, error) {
	var v messaging.AgentVitals
	var problems []error
	note := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	var err error
	v.CPU, err = s.readCPU()
	note(err)
	v.Load, err = s.readLoad()
	note(err)
	v.Mem, v.Swap, err = s.readMemory()
	note(err)
	v.Uptime, err = s.readUptime()
	note(err)
	v.Disk, err = s.readDisks()
	note(err)
	return v, errors.Join(problems...)
}

func (s *Source) readCPU() (*messaging.AgentCPU, error) {
	s.mu.Lock()
	share, measured := s.cpu, s.measured
	s.mu.Unlock()
	if !measured {
		times, err := s.cpuTimes()
		if err != nil {
			return nil, err
		}
		share = times.since(cpuTimes{})
	}
	return &messaging.AgentCPU{System: oneDigit(share.system), User: oneDigit(share.user), Wait: oneDigit(share.wait)}, nil
}

func oneDigit(f float64) messaging.Text { return messaging.Text(strconv.FormatFloat(f, 'f', 1, 64)) }
func noDigit(f float64) messaging.Text  { return messaging.Text(strconv.FormatFloat(f, 'f', 0, 64)) }

// percent of a part that may be of nothing.
func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return math.Min(100*float64(part)/float64(whole), 100)
}
