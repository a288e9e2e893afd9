package logging_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/logging"
)

func TestLevelNames(t *testing.T) {
	names := logging.LevelNames()
	assert.Equal(t, []string{"off", "fatal", "error", "warn", "info", "debug", "debug1", "debug2", "all"}, names)
	last := logging.LevelOff + 0
	for _, name := range names[1:] {
		level, err := logging.ParseLevel(name)
		require.NoError(t, err)
		assert.Less(t, level, last, "%s lets more through than the one before", name)
		if name != "all" {
			assert.Equal(t, name, logging.LevelName(level))
		}
		last = level
	}
	_, err := logging.ParseLevel("WARN")
	assert.EqualError(t, err, "unknown log level; choose one of off, fatal, error, warn, info, debug, debug1, debug2, all")
}

func TestLevelBetweenTwo(t *testing.T) {
	for level, want := range map[slog.Level]string{
		100: "fatal", 11: "error", 5: "warn", 1: "info", -1: "debug", -4: "debug", -5: "debug1", -9: "debug2", -1000: "debug2",
	} {
		assert.Equal(t, want, logging.LevelName(level), "%d", level)
	}
}
