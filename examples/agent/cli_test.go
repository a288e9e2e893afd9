package main

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/node"
)

// TestAgentIDInDirectory: only the id that nobody gave makes place for another.
func TestAgentIDInDirectory(t *testing.T) {
	for given, want := range map[string]string{"not_configured": "dev", "mine": "mine", "not_configured-7": "not_configured-7"} {
		dir := t.TempDir()
		_, err := (&cli{Dev: dir, AgentID: given}).config(slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		at, err := node.ReadAccess(dir)
		require.NoError(t, err)
		assert.Equal(t, want, at.AgentID)
	}
}

// TestDashes are those of either agent.
func TestDashes(t *testing.T) {
	for _, test := range [][2][]string{
		{{"--C", "f", "-P=dummy", "-no-alerts"}, {"-C", "f", "-P", "dummy", "--no-alerts"}},
		{{"-s=http://u:p@h?a=b"}, {"-s", "http://u:p@h?a=b"}},
		{{"--dev=x=y", "-", "--"}, {"--dev=x=y", "-", "--"}},
	} {
		assert.Equal(t, test[1], goFlags(test[0]))
	}
}
