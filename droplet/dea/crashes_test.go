package dea_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
)

// crash ends the first instance that runs and waits until it is dealt with.
func (w *world) crash() {
	w.t.Helper()
	w.start(w.startMessage(testapp.Serves, nil))
	route := w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	_, err := http.Get(fmt.Sprintf("http://%s:%.0f/exit", route["host"], route["port"]))
	require.Error(w.t, err)
	w.await("droplet.exited", nil)
	require.Eventually(w.t, func() bool { return w.parts.Ledger.Reserved().MemoryBytes == 0 }, 10*time.Second, 5*time.Millisecond)
}

func TestCrashCountsForDiskOnly(t *testing.T) {
	w := newWorld(t, nil)
	before := w.offer("")
	w.crash()
	after := w.offer("")
	assert.Equal(t, before["available_memory"], after["available_memory"])
	assert.Equal(t, before["available_disk"].(float64)-128, after["available_disk"])
	assert.Equal(t, object{"app-guid": 1.0}, after["app_id_to_count"])
}

func TestOldCrashesAreForgotten(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.CrashReapInterval, c.CrashLifetime = 20*time.Millisecond, 400*time.Millisecond })
	crashes := filepath.Join(w.baseDir, "crashes")
	require.NoError(t, os.Mkdir(filepath.Join(crashes, "left-by-nobody"), 0o755))
	w.crash()
	w.crash() // the second one replaces the first of the same app
	require.Eventually(t, func() bool { return len(w.dea.Instances()) == 1 }, 10*time.Second, 5*time.Millisecond)
	kept := w.dea.Instances()[0].Status()
	assert.Equal(t, messaging.Crashed, kept.State)
	require.Eventually(t, func() bool { return len(w.dea.Instances()) == 0 }, 10*time.Second, 5*time.Millisecond, "its time is over")
	require.Eventually(t, func() bool {
		entries, err := os.ReadDir(crashes)
		return err == nil && len(entries) == 0
	}, 10*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool { return w.parts.Ledger.Reserved().DiskBytes == 0 }, 10*time.Second, 5*time.Millisecond)
}

// When the disk is full the oldest crash goes first; here it is always full.
func TestCrashesGoUnderDiskPressure(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.CrashReapInterval, c.CrashDiskUsage = 20*time.Millisecond, 1e-12 })
	w.crash()
	require.Eventually(t, func() bool { return len(w.dea.Instances()) == 0 }, 10*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool { // also of a crash that was forgotten while its logs were being kept
		entries, err := os.ReadDir(filepath.Join(w.baseDir, "crashes"))
		return err == nil && len(entries) == 0
	}, 10*time.Second, 5*time.Millisecond)
}

func TestUnusedDropletsAreRemoved(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.DropletReapInterval = 20 * time.Millisecond })
	w.start(w.startMessage(testapp.Serves, nil))
	w.running()
	file := filepath.Join(w.baseDir, "droplets", w.app.SHA1, "droplet.tgz")
	assert.FileExists(t, file, "it is in use")
	w.publish("dea.stop", object{"droplet": "app-guid"})
	require.Eventually(t, func() bool {
		_, err := os.Stat(file)
		return os.IsNotExist(err)
	}, 10*time.Second, 5*time.Millisecond)
}
