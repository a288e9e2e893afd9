package logging

import (
	"fmt"
	"log/slog"
	"math"
	"strings"
)

// The levels of Steno. Those that slog knows too are slog's; the others stand at slog's distance of four.
const (
	LevelAll    = slog.Level(math.MinInt)
	LevelDebug2 = slog.Level(-12)
	LevelDebug1 = slog.Level(-8)
	LevelDebug  = slog.LevelDebug
	LevelInfo   = slog.LevelInfo
	LevelWarn   = slog.LevelWarn
	LevelError  = slog.LevelError
	LevelFatal  = slog.Level(12)
	LevelOff    = slog.Level(math.MaxInt)
)

// named has the levels from the least to the most talkative.
var named = [...]struct {
	name  string
	level slog.Level
}{
	{"off", LevelOff}, {"fatal", LevelFatal}, {"error", LevelError}, {"warn", LevelWarn}, {"info", LevelInfo},
	{"debug", LevelDebug}, {"debug1", LevelDebug1}, {"debug2", LevelDebug2}, {"all", LevelAll},
}

// LevelNames returns the names that a configuration may have, from the least to the most talkative (Steno).
func LevelNames() []string {
	names := make([]string, len(named))
	for i, l := range named {
		names[i] = l.name
	}
	return names
}

// ParseLevel returns the level of that name. Names are in lower case.
func ParseLevel(name string) (slog.Level, error) {
	for _, l := range named {
		if l.name == name {
			return l.level, nil
		}
	}
	return 0, fmt.Errorf("unknown log level; choose one of %s", strings.Join(LevelNames(), ", "))
}

// LevelName returns what a line of that level is labelled with: fatal to debug2. A level between two of them goes by the
// lower one.
func LevelName(level slog.Level) string {
	for _, l := range named[1 : len(named)-1] { // nobody logs at "off" or "all"
		if level >= l.level {
			return l.name
		}
	}
	return "debug2"
}
