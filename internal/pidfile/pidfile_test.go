package pidfile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/needs"
)

func TestCreateAndRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dea.pid")
	f, err := Create(path)
	require.NoError(t, err)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("%d\n", os.Getpid()), string(data))

	_, err = Create(path)
	var running *RunningError
	require.ErrorAs(t, err, &running, "the lock is held")
	assert.Equal(t, os.Getpid(), running.PID)

	require.NoError(t, f.Remove())
	assert.NoFileExists(t, path)
}

func TestFilesOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dea.pid")
	other := exec.Command("sleep", "60")
	require.NoError(t, other.Start())
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "%d\n", other.Process.Pid), 0o644))
	_, err := Create(path)
	var running *RunningError
	require.ErrorAs(t, err, &running, "it lives, although it holds no lock")
	assert.Equal(t, other.Process.Pid, running.PID)

	require.NoError(t, other.Process.Kill())
	_ = other.Wait()
	f, err := Create(path)
	require.NoError(t, err, "its owner is dead")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("%d\n", os.Getpid()), string(data), "nothing is left of the old content")
	require.NoError(t, f.Remove())

	require.NoError(t, os.WriteFile(path, []byte("rubbish"), 0o644))
	f, err = Create(path)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, []byte("1\n"), 0o644))
	require.NoError(t, f.Remove())
	assert.FileExists(t, path, "it is another's by now")

	_, err = Create(filepath.Join(t.TempDir(), "none", "dea.pid"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// A process id that was written down before the machine was started is another process's by now.
func TestFileOfAnEarlierBoot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dea.pid")
	text := fmt.Appendf(nil, "%d\n", os.Getppid())
	require.NoError(t, os.WriteFile(path, text, 0o644))
	_, err := Create(path)
	var running *RunningError
	require.ErrorAs(t, err, &running)

	var up unix.Timespec
	require.NoError(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &up))
	earlier := time.Now().Add(-time.Duration(up.Nano()) - time.Minute)
	require.NoError(t, os.Chtimes(path, time.Time{}, earlier))
	f, err := Create(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Remove()) }()
	require.NoError(t, os.Chtimes(path, time.Time{}, earlier))
	_, err = Create(path)
	require.ErrorAs(t, err, &running, "a lock counts whatever time it is")
}

// A process that was killed is dead, also before its parent has taken notice.
func TestFileOfAZombie(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dea.pid")
	other := exec.Command("sleep", "60")
	require.NoError(t, other.Start())
	defer func() { _ = other.Wait() }()
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "%d\n", other.Process.Pid), 0o644))
	require.NoError(t, other.Process.Kill())
	require.Eventually(t, func() bool {
		f, err := Create(path)
		if err != nil {
			return false
		}
		return assert.NoError(t, f.Remove())
	}, 10*time.Second, time.Millisecond)
}

// Whoever holds the file holds the one that stands there, also when the one before is just being removed.
func TestOneHolderAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dea.pid")
	var holders, times atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for times.Load() < 2000 {
				f, err := Create(path)
				if err != nil {
					var running *RunningError
					assert.ErrorAs(t, err, &running)
					continue
				}
				times.Add(1)
				assert.EqualValues(t, 1, holders.Add(1))
				assert.FileExists(t, path)
				holders.Add(-1)
				assert.NoError(t, f.Remove())
			}
		})
	}
	wg.Wait()
}

// On a full disk the lock counts, and no dead process is named.
func TestFullDisk(t *testing.T) {
	needs.Root(t)
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	kept := filepath.Join(dir, "kept.pid") // has room already
	require.NoError(t, os.WriteFile(kept, []byte("999999999\n"), 0o644))
	require.ErrorIs(t, os.WriteFile(filepath.Join(dir, "filling"), make([]byte, 1<<20), 0o600), unix.ENOSPC)
	for name, want := range map[string]string{kept: fmt.Sprintf("%d\n", os.Getpid()), filepath.Join(dir, "new.pid"): ""} {
		f, err := Create(name)
		require.NoError(t, err)
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.Equal(t, want, string(data))
		_, err = Create(name)
		var running *RunningError
		require.ErrorAs(t, err, &running)
		require.NoError(t, f.file.Close())
	}
}
