package dea_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/testapp"
)

// A process that was killed while it wrote leaves a file with credentials, which nobody would ever look at again.
func TestUnfinishedSnapshotsAreRemoved(t *testing.T) {
	w := newSurroundings(t)
	db := filepath.Join(w.baseDir, "db")
	require.NoError(t, os.MkdirAll(db, 0o755))
	for _, name := range []string{".incoming-ABC", "instances.json.unreadable-1"} {
		require.NoError(t, os.WriteFile(filepath.Join(db, name), []byte("{"), 0o600))
	}
	w.run(nil)
	assert.NoFileExists(t, filepath.Join(db, ".incoming-ABC"))
	assert.FileExists(t, filepath.Join(db, "instances.json.unreadable-1"))
}

// What happened while the snapshot could not be written is in it as soon as it can be, although nothing happens any more:
// a process that is killed later must not leave an old picture behind.
func TestSnapshotThatFailedIsWrittenAgain(t *testing.T) {
	w := newSurroundings(t)
	w.run(nil)
	file := filepath.Join(w.baseDir, "db/instances.json")
	require.Eventually(t, func() bool { _, err := os.Stat(file); return err == nil }, patience, 5*time.Millisecond)
	require.NoError(t, os.Remove(file))
	require.NoError(t, os.MkdirAll(filepath.Join(file, "in the way"), 0o755)) // a directory that is not empty is not replaced
	w.start(w.startMessage(testapp.Serves, nil))
	w.running()
	w.quiet()
	require.NoError(t, os.RemoveAll(file))
	require.Eventually(t, func() bool {
		var s struct{ Instances []object }
		data, err := os.ReadFile(file)
		return err == nil && json.Unmarshal(data, &s) == nil && len(s.Instances) == 1 && s.Instances[0]["state"] == "RUNNING"
	}, patience, 5*time.Millisecond)
}
