package main

import (
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/internal/programtest"
)

// TestAgentIDInDirectory: only the id that nobody gave makes place for another.
func TestAgentIDInDirectory(t *testing.T) {
	for given, want := range map[string]string{"not_configured": "dev", "mine": "mine", "not_configured-7": "not_configured-7"} {
		dir := t.TempDir()
		cfg, err := (&cli{Dev: directory(dir), AgentID: given}).config(slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		s, err := cfg.Source.Settings(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, s.AgentID)
	}
}

// TestRefusedAtOnce: what would have the agent be another one than was meant, or take settings of an earlier start.
func TestRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"--dev", ""}, {"--dev="}, {"-b", ""}, {"--dev", dir, "-a", "b d"}, {"--dev", dir, "-a", "a.b"},
		{"--dev", dir, "-n", "http://127.0.0.1:6868"}, {"--dev", dir, "-n", "ftp://h"},
	} {
		assert.Equal(t, exitUsage, run(args, io.Discard), args)
	}
	assert.NoDirExists(t, filepath.Join(dir, "bosh"))
}

// TestNoServer: who starts an agent without a message bus is told what it waits for.
func TestNoServer(t *testing.T) {
	dir := t.TempDir()
	p := programtest.Start(t, "--dev", dir, "-n", "nats://me:secret@127.0.0.1:1")
	p.Says("takes requests over NATS once a server answers at 127.0.0.1:1.")
	assert.NotContains(t, p.Text(), "secret")
	log, err := os.ReadFile(filepath.Join(dir, "bosh/log/current"))
	require.NoError(t, err)
	assert.Contains(t, string(log), "agent.settings", "for agentctl logs agent")
	assert.NotContains(t, string(log), "secret")
}

// TestNoHeartbeats: none are what a number below zero asks for, in any form.
func TestNoHeartbeats(t *testing.T) {
	for _, args := range [][]string{{"-h", "-5"}, {"-h=-5"}, {"--heartbeat-interval=-5"}, {"-h", "0"}, {"-h0"}} {
		c, err := parse(t, args...)
		require.NoError(t, err, args)
		assert.LessOrEqual(t, c.Heartbeat, 0)
	}
}

// TestQuoted: what people are told to type works.
func TestQuoted(t *testing.T) {
	for word, want := range map[string]string{"/tmp/agent-1": "/tmp/agent-1", "my agent": "'my agent'", "it's": `'it'\''s'`, "$x": "'$x'"} {
		assert.Equal(t, want, quoted(word))
		out, err := exec.Command("sh", "-c", "printf %s "+quoted(word)).Output()
		require.NoError(t, err)
		assert.Equal(t, word, string(out))
	}
}

// TestDashes are those of either agent.
func TestDashes(t *testing.T) {
	for _, test := range [][2][]string{
		{{"--C", "f", "-P=dummy", "-no-alerts"}, {"-C", "f", "-P", "dummy", "--no-alerts"}},
		{{"-s=http://u:p@h?a=b"}, {"-s", "http://u:p@h?a=b"}},
		{{"-h", "-5", "-h=-5", "-h", "15"}, {"--heartbeat-interval=-5", "--heartbeat-interval=-5", "-h", "15"}},
		{{"--dev=x=y", "-", "--"}, {"--dev=x=y", "-", "--"}},
	} {
		assert.Equal(t, test[1], goFlags(test[0]))
	}
}
