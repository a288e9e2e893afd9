package instance

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStateFileOf(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"named", "raw: {x: [1]}\nstate_file: a/b.json\n", "a/b.json"},
		{"absent", "raw: 1\n", ""},
		{"null", "state_file: ~\n", ""},
		{"number", "state_file: 7\n", "7"},
		{"elsewhere", "x: {state_file: a}\n", ""},
		{"alias", "x: &a b\nstate_file: *a\n", "b"},
		{"twice", "state_file: a\nstate_file: b\n", "b"},
		{"empty", "", ""},
		{"only a comment", "# nothing\n", ""},
		{"null document", "null\n", ""},
	} {
		got, err := stateFileOf([]byte(tc.text))
		assert.NoError(t, err, tc.name)
		assert.Equal(t, tc.want, got, tc.name)
	}
	for _, text := range []string{"- a\n", "text", "state_file: [a]\n", "state_file: {a: b}\n", "a: [", "state_file: *none\n"} {
		_, err := stateFileOf([]byte(text))
		assert.Error(t, err, text)
	}
}

// What an app writes into its droplet.yaml costs the node no more than reading it.
func TestManyKeysAreCheap(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := stateFileOf([]byte(strings.Repeat("a: b\n", 2000) + "state_file: c\n"))
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	assert.Equal(t, "c", got)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(32<<20), "bytes for a file of 10 kB")
}

// How long apps may take where nobody says otherwise is known to those who push them (first-generation DEA and dea_ng).
func TestLimitsOfReadiness(t *testing.T) {
	c := Config{}.withDefaults()
	assert.Equal(t, time.Minute, c.HealthCheckTimeout)
	assert.Equal(t, 5*time.Minute, c.StateFileTimeout)
}
