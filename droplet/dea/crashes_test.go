package dea_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container/process"
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
	require.Eventually(w.t, func() bool { return w.parts.Ledger.Reserved().MemoryBytes == 0 }, patience, 5*time.Millisecond)
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
	w := newWorld(t, func(c *dea.Config) { c.CrashReapInterval, c.CrashLifetime = 20*time.Millisecond, 2*time.Second })
	crashes := filepath.Join(w.baseDir, "crashes")
	require.NoError(t, os.Mkdir(filepath.Join(crashes, "left-by-nobody"), 0o755))
	w.crash()
	w.crash() // the second one replaces the first of the same app
	require.Eventually(t, func() bool { return len(w.dea.Instances()) == 1 }, patience, 5*time.Millisecond)
	kept := w.dea.Instances()[0].Status()
	assert.Equal(t, messaging.Crashed, kept.State)
	require.Eventually(t, func() bool { return len(w.dea.Instances()) == 0 }, patience, 5*time.Millisecond, "its time is over")
	require.Eventually(t, func() bool {
		entries, err := os.ReadDir(crashes)
		return err == nil && len(entries) == 0
	}, patience, 5*time.Millisecond)
	require.Eventually(t, func() bool { return w.parts.Ledger.Reserved().DiskBytes == 0 }, patience, 5*time.Millisecond)
}

// When the disk is full the oldest crash goes first; here it is always full.
func TestCrashesGoUnderDiskPressure(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.CrashReapInterval, c.CrashDiskUsage = 20*time.Millisecond, 1e-12 })
	w.crash()
	require.Eventually(t, func() bool { return len(w.dea.Instances()) == 0 }, patience, 5*time.Millisecond)
	require.Eventually(t, func() bool { // also of a crash that was forgotten while its logs were being kept
		entries, err := os.ReadDir(filepath.Join(w.baseDir, "crashes"))
		return err == nil && len(entries) == 0
	}, patience, 5*time.Millisecond)
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
	}, patience, 5*time.Millisecond)
}

// An app may leave directories that nobody may write to among its logs, which are kept so. They go all the same, also where the
// DEA is no super-user.
func TestShutDirectoriesOfCrashesAreRemoved(t *testing.T) {
	w := newSurroundings(t)
	cfg, parts := newParts(t, w.nats.URL(), w.baseDir)
	defer func() {
		parts.Conn.Close()
		require.NoError(t, parts.Backend.(*process.Backend).Close(t.Context()))
		require.NoError(t, parts.Droplets.Close())
	}()
	d, err := dea.New(cfg, parts)
	require.NoError(t, err)
	crashes := filepath.Join(w.baseDir, "crashes")
	shut := filepath.Join(crashes, "0123", "logs", "shut")
	require.NoError(t, os.MkdirAll(shut, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(shut, "log"), nil, 0o400))
	require.NoError(t, os.Chmod(shut, 0o500))
	if os.Getuid() == 0 {
		const nobody = 65534
		require.NoError(t, os.Chmod(filepath.Dir(w.baseDir), 0o755)) // which testing made for root alone
		require.NoError(t, filepath.WalkDir(crashes, func(name string, _ os.DirEntry, _ error) error { return os.Lchown(name, nobody, nobody) }))
		runtime.LockOSThread() // it alone is somebody else
		defer runtime.UnlockOSThread()
		defer func() { _ = unix.Setfsuid(0) }()
		require.NoError(t, unix.Setfsuid(nobody))
	}
	d.ReapCrashes()
	left, err := os.ReadDir(crashes)
	require.NoError(t, err)
	assert.Empty(t, left)
}
