package node_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/disk"
	"github.com/deakit/deakit/agent/node"
	"github.com/deakit/deakit/messaging/messagingtest"
)

// TestRebooted: a machine that is only noted, and loses its memory.
func TestRebooted(t *testing.T) {
	dir := t.TempDir()
	disks, err := disk.NewMemory(filepath.Join(dir, "disks"))
	require.NoError(t, err)
	cfg := node.Config{
		Base: filepath.Join(dir, "vcap"), Disks: disks, Tmpfs: true, Supervisor: node.None, NoAlerts: true,
		Source: source(`{"agent_id":"a","mbus":"` + messagingtest.NewServer(t).URL() + `","env":{"bosh":{"agent":{"settings":{"tmpfs":true}}}}}`),
	}
	var marks []os.FileInfo
	for range 2 { // an agent, and its successor
		_, stop := run(t, cfg)
		require.NoError(t, stop())
		mark, err := os.Stat(filepath.Join(cfg.Base, "bosh/bootonce"))
		require.NoError(t, err)
		marks = append(marks, mark)
	}
	assert.True(t, os.SameFile(marks[0], marks[1]), "it takes no room on a disk that is full by now")
	assert.NoFileExists(t, filepath.Join(cfg.Base, "bosh/settings.json"))
	mounts, err := disks.Mounts(t.Context())
	require.NoError(t, err)
	var dirs []string
	for _, mount := range mounts {
		dirs = append(dirs, mount.Dir)
		require.NoError(t, disks.Unmount(t.Context(), mount.Dir))
	}
	bosh, data := filepath.Join(cfg.Base, "bosh"), filepath.Join(cfg.Base, "data")
	assert.Equal(t, []string{filepath.Join(bosh, "settings"), filepath.Join(bosh, "canrestart"), filepath.Join(data, "sys/run")}, dirs)

	n, err := node.New(cfg)
	require.NoError(t, err)
	require.ErrorIs(t, n.Run(context.Background()), node.ErrRebooted)
}
