package dea_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/testapp"
)

// orphan makes a container that bears the mark of an owner and belongs to no instance.
func (w *world) orphan(owner string) string {
	w.t.Helper()
	c, err := w.parts.Backend.Create(context.Background(), container.Spec{Properties: map[string]string{"owner": owner}})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = c.Destroy(context.Background()) }) // gone, in most cases
	return c.Handle()
}

func (w *world) exists(handle string) bool {
	_, err := w.parts.Backend.Lookup(context.Background(), handle)
	return err == nil
}

func TestOrphansAreDestroyedWhenTheyAreOurs(t *testing.T) {
	looks := &journal{}
	w := newSurroundings(t)
	w.alter = func(p *dea.Parts) { p.Logger = slog.New(slog.NewTextHandler(looks, nil)) }
	w.run(func(c *dea.Config) { c.OrphanReapInterval = 20 * time.Millisecond })
	w.start(w.startMessage(testapp.Serves, nil))
	w.running()
	foreign := w.orphan("somebody else")
	unmarked := w.orphan("")
	ours := w.orphan("dea " + w.baseDir)
	require.Eventually(t, func() bool { return !w.exists(ours) }, patience, 5*time.Millisecond)
	second := w.orphan("dea " + w.baseDir)
	require.Eventually(t, func() bool { return !w.exists(second) }, patience, 5*time.Millisecond)
	assert.True(t, w.exists(foreign))
	assert.True(t, w.exists(unmarked))
	assert.True(t, w.exists(w.dea.Instances()[0].Status().Handle))
	for _, handle := range []string{foreign, unmarked} { // end looks for what is left
		c, err := w.parts.Backend.Lookup(context.Background(), handle)
		require.NoError(t, err)
		require.NoError(t, c.Destroy(context.Background()))
	}
	assert.Equal(t, 2, strings.Count(looks.String(), "dea.orphan.destroying"))
}

// One look is not enough: whoever made the container may be about to tell.
func TestOrphansAreSeenTwice(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.OrphanReapInterval = time.Hour })
	ours := w.orphan("dea " + w.baseDir)
	w.quiet()
	assert.True(t, w.exists(ours))
	c, err := w.parts.Backend.Lookup(context.Background(), ours)
	require.NoError(t, err)
	require.NoError(t, c.Destroy(context.Background()))
}

// A snapshot that cannot be read keeps nobody from working, is kept, and costs no container.
func TestUnreadableSnapshotIsSetAside(t *testing.T) {
	for name, text := range map[string]string{
		"cut off": `{"time":1,"instances":[{"cc_partition":"de`,
		"foreign": `{"droplets":[]}`,
		"in part": `{"instances":[{"instance_id":"../x","state":"RUNNING"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			log := &journal{}
			w := newSurroundings(t)
			w.alter = func(p *dea.Parts) { p.Logger = slog.New(slog.NewTextHandler(log, nil)) }
			db := filepath.Join(w.baseDir, "db")
			require.NoError(t, os.Mkdir(db, 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(db, "instances.json"), []byte(text), 0o600))
			w.run(func(c *dea.Config) { c.OrphanReapInterval = 10 * time.Millisecond })
			assert.Contains(t, log.String(), "dea.snapshot.unreadable")

			kept, err := filepath.Glob(filepath.Join(db, "instances.json.unreadable-*"))
			require.NoError(t, err)
			require.Len(t, kept, 1)
			data, err := os.ReadFile(kept[0])
			require.NoError(t, err)
			assert.Equal(t, text, string(data))

			ours := w.orphan("dea " + w.baseDir)
			require.Eventually(t, func() bool { return strings.Count(log.String(), "dea.orphans.kept") > 3 }, patience, time.Millisecond)
			assert.True(t, w.exists(ours))
			w.start(w.startMessage(testapp.Serves, nil))
			w.running()
			c, err := w.parts.Backend.Lookup(context.Background(), ours)
			require.NoError(t, err)
			require.NoError(t, c.Destroy(context.Background()))
		})
	}
}

// A journal collects what is logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}
