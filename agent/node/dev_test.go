package node_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/node"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// Two agents of directories on one bus are not one; each stays who it is, and who is given an id has that.
func TestIDOverNATS(t *testing.T) {
	srv := messagingtest.NewServer(t)
	id := func(dir, given string) string {
		cfg, err := node.Development(dir, given, srv.URL())
		require.NoError(t, err)
		at, stop := run(t, cfg)
		require.NoError(t, stop())
		return at.AgentID
	}
	one, other := t.TempDir(), t.TempDir()
	first := id(one, "")
	assert.True(t, strings.HasPrefix(first, "dev-"), first)
	assert.NotEqual(t, first, id(other, ""))
	assert.Equal(t, first, id(one, ""))
	assert.Equal(t, "mine", id(other, "mine"))
	access, err := node.ReadAccess(other)
	require.NoError(t, err)
	assert.Equal(t, "mine", access.AgentID)

	cfg, err := node.Development(one, "", "https://127.0.0.1:0")
	require.NoError(t, err)
	at, stop := run(t, cfg)
	require.NoError(t, stop())
	assert.Equal(t, "dev", at.AgentID)
	assert.False(t, at.Open)
}

// Who lets anybody in is told so.
func TestOpenAgent(t *testing.T) {
	var log bytes.Buffer
	at, stop := run(t, node.Config{
		Base: t.TempDir(), Source: source(`{"agent_id":"a","mbus":"https://127.0.0.1:0"}`), Supervisor: node.None,
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.NoError(t, stop())
	assert.True(t, at.Open)
	assert.Regexp(t, "level=WARN msg=agent.open .*has no user and password", log.String())
}

// An agent that cannot have the directory does not lead clients away from the one that has it.
func TestSecondAgentOfADirectory(t *testing.T) {
	dir := t.TempDir()
	agent := func() (node.Config, string) {
		l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
		require.NoError(t, err)
		require.NoError(t, l.Close())
		cfg, err := node.Development(dir, "", "https://vcap:pw@"+l.Addr().String())
		require.NoError(t, err)
		return cfg, "https://vcap:pw@" + l.Addr().String()
	}
	cfg, mbus := agent()
	ready := make(chan struct{})
	cfg.Ready = func(node.Place) { close(ready) }
	first, err := node.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- first.Run(ctx) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-ended) })
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		require.NoError(t, err)
	}

	cfg, _ = agent()
	second, err := node.New(cfg)
	require.NoError(t, err)
	assert.ErrorContains(t, second.Run(ctx), "take the base directory")
	access, err := node.ReadAccess(dir)
	require.NoError(t, err)
	assert.Equal(t, mbus, access.Mbus)
}
