package node_test

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/node"
)

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
