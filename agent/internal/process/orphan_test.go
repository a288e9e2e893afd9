package process_test

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/internal/process"
	"github.com/deakit/deakit/internal/needs"
)

// An orphan that waits for a disk in the kernel cannot be killed until that answers. The agent comes up without waiting for that, and
// its successor looks again.
func TestOrphanThatCannotBeKilled(t *testing.T) {
	needs.Root(t)
	for tool, pkg := range map[string]string{"fsfreeze": "util-linux", "mount": "mount", "mkfs.ext4": "e2fsprogs"} {
		needs.Tool(t, tool, pkg)
	}
	must := func(name string, args ...string) {
		out, err := exec.Command(name, args...).CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
	}
	dir := t.TempDir()
	image, frozen := filepath.Join(dir, "image"), filepath.Join(dir, "frozen")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, 16<<20))
	require.NoError(t, os.Mkdir(frozen, 0o755))
	must("mkfs.ext4", "-q", image)
	must("mount", "-o", "loop", image, frozen)
	defer must("umount", frozen)

	running := filepath.Join(dir, "bosh/running")
	require.NoError(t, os.MkdirAll(running, 0o700))
	record := filepath.Join(running, "ORPHAN")
	require.NoError(t, os.WriteFile(record, nil, 0o600))
	other := filepath.Join(running, "PAST")
	require.NoError(t, os.WriteFile(other, nil, 0o600))

	must("fsfreeze", "--freeze", frozen)
	orphan := exec.Command("sh", "-c", "echo > "+filepath.Join(frozen, "file"))
	orphan.Env = append(os.Environ(), "DEAKIT_SCRIPT=ORPHAN")
	require.NoError(t, orphan.Start())
	defer func() { require.Error(t, orphan.Wait(), "it was killed") }()
	thaw := func() { must("fsfreeze", "--unfreeze", frozen) }
	defer func() {
		if thaw != nil {
			thaw()
		}
	}()
	require.Eventually(t, func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", orphan.Process.Pid))
		return err == nil && strings.Contains(string(status), "State:\tD")
	}, 20*time.Second, time.Millisecond)

	var log strings.Builder
	register := process.NewRegister(dir, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, register.EndOrphans(t.Context(), time.Millisecond))
	assert.Contains(t, log.String(), "script.orphan_remains")
	assert.FileExists(t, record)
	assert.NoFileExists(t, other)

	thaw()
	thaw = nil
	require.NoError(t, register.EndOrphans(t.Context(), time.Millisecond))
	assert.NoFileExists(t, record)
}
