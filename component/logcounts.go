package component

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// levels are the names of log levels (steno), each with the lowest level of slog that bears it.
var levels = [...]struct {
	name string
	from slog.Level
}{
	{"fatal", slog.LevelError + 4}, {"error", slog.LevelError}, {"warn", slog.LevelWarn}, {"info", slog.LevelInfo},
	{"debug", slog.LevelDebug}, {"debug1", slog.LevelDebug - 4}, {"debug2", -1 << 31},
}

// LogCounts counts the lines of a log by level. Its zero value is ready; it must not be copied. It may be used from any
// goroutine.
type LogCounts struct {
	lines [len(levels)]atomic.Int64
}

// Handler returns a handler that counts what it passes on to next. Lines that next is not enabled for are neither passed
// on nor counted. Several handlers may count into one LogCounts.
func (c *LogCounts) Handler(next slog.Handler) slog.Handler { return counting{c, next} }

// Counts returns the number of lines so far by the names of levels (steno): fatal, error, warn, info, debug, debug1,
// debug2. Levels between two of those count as the lower one.
func (c *LogCounts) Counts() map[string]int64 {
	counts := make(map[string]int64, len(levels))
	for i, level := range levels {
		counts[level.name] = c.lines[i].Load()
	}
	return counts
}

func (c *LogCounts) count(l slog.Level) {
	for i, level := range levels {
		if l >= level.from {
			c.lines[i].Add(1)
			return
		}
	}
}

// counting is a slog.Handler that counts.
type counting struct {
	counts *LogCounts
	next   slog.Handler
}

func (h counting) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h counting) Handle(ctx context.Context, r slog.Record) error {
	h.counts.count(r.Level)
	return h.next.Handle(ctx, r)
}

func (h counting) WithAttrs(attrs []slog.Attr) slog.Handler {
	return counting{h.counts, h.next.WithAttrs(attrs)}
}

func (h counting) WithGroup(name string) slog.Handler {
	return counting{h.counts, h.next.WithGroup(name)}
}
