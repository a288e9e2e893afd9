package dea_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/testapp"
)

// killedWith leaves one running instance of a DEA that was killed, and makes the parts of the next one.
func (w *world) killedWith() {
	w.t.Helper()
	first, kill := w.runChild()
	w.publish("dea."+first+".start", w.startMessage(testapp.Serves, nil))
	w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	require.Eventually(w.t, func() bool {
		s := w.snapshot()
		return len(s) == 1 && s[0]["state"] == "RUNNING"
	}, patience, 5*time.Millisecond)
	kill()
	w.quietDown()
	w.cfg, w.parts = newParts(w.t, w.nats.URL(), w.baseDir)
	w.t.Cleanup(func() {
		w.parts.Conn.Close()
		assert.NoError(w.t, w.parts.Backend.(*process.Backend).Close(context.Background()))
		assert.NoError(w.t, w.parts.Droplets.Close())
	})
	var err error
	w.dea, err = dea.New(w.cfg, w.parts)
	require.NoError(w.t, err)
}

// quietDown forgets what was heard so far.
func (w *world) quietDown() {
	for len(w.heard) > 0 {
		<-w.heard
	}
}

// A DEA that is told to end before it has begun stops what an earlier process left: nothing of it has crashed.
func TestToldToEndAtOnce(t *testing.T) {
	w := newSurroundings(t)
	w.killedWith()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, w.dea.Run(ctx))
	require.NoError(t, w.parts.Conn.Flush())
	require.NoError(t, w.peer.Flush())
	for len(w.heard) > 0 {
		assert.NotEqual(t, "droplet.exited", (<-w.heard).Subject)
	}
	left, err := w.parts.Backend.List(t.Context())
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.Empty(t, w.snapshot())
}

// A DEA that cannot begin leaves alone what runs: the next one takes it up.
func TestBootThatFailsCostsNoInstance(t *testing.T) {
	w := newSurroundings(t)
	w.killedWith()
	before, err := os.ReadFile(filepath.Join(w.baseDir, "db/instances.json"))
	require.NoError(t, err)
	w.parts.Conn.Close()
	require.Error(t, w.dea.Run(t.Context()))
	left, err := w.parts.Backend.List(t.Context())
	require.NoError(t, err)
	assert.Len(t, left, 1)
	after, err := os.ReadFile(filepath.Join(w.baseDir, "db/instances.json"))
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))
}
