package filewatch

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// follow opens a file or directory and follows it until the end of the test.
func follow(t *testing.T, w *Watcher, path string) *Follower {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	f := w.Follow(fd, path)
	t.Cleanup(f.Leave)
	return f
}

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// told waits until the follower hears of a change.
func told(t *testing.T, f *Follower) {
	t.Helper()
	select {
	case <-f.Changed():
	case <-time.After(10 * time.Second):
		t.Fatal("told of nothing")
	}
}

// quiet takes what may be left to tell of earlier changes.
func quiet(f *Follower) {
	select {
	case <-f.Changed():
	default:
	}
}

func TestChanges(t *testing.T) {
	for name, poll := range map[string]bool{"inotify": false, "polling": true} {
		t.Run(name, func(t *testing.T) {
			w := &Watcher{PollOnly: poll}
			path := filepath.Join(t.TempDir(), "log")
			write(t, path, "a")
			one, two := follow(t, w, path), follow(t, w, path)
			assert.Same(t, one.File(), two.File(), "one handle for both")
			assert.Equal(t, 2, w.Followers())

			write(t, path, "b")
			told(t, one)
			told(t, two)
			assert.False(t, one.Gone())
			require.NoError(t, os.Rename(path, path+".1"))
			require.Eventually(t, one.Gone, 10*time.Second, time.Millisecond)

			write(t, path, "new")
			three := follow(t, w, path)
			assert.NotSame(t, one.File(), three.File(), "a file that is gone is not joined")
			require.NoError(t, os.Remove(path))
			require.Eventually(t, three.Gone, 10*time.Second, time.Millisecond)
		})
	}
}

// Whoever follows a directory hears of its files: that they come, and, with inotify, that they are written to.
func TestDirectory(t *testing.T) {
	w := &Watcher{}
	dir := filepath.Join(t.TempDir(), "logs")
	require.NoError(t, os.Mkdir(dir, 0o755))
	f := follow(t, w, dir)
	log := filepath.Join(dir, "log")
	write(t, log, "")
	told(t, f)
	quiet(f)
	write(t, log, "more")
	told(t, f)
	quiet(f)
	other := filepath.Join(filepath.Dir(dir), "other")
	write(t, other, "")
	require.NoError(t, os.Rename(other, log))
	told(t, f)
	assert.False(t, f.Gone())
	require.NoError(t, os.Rename(dir, dir+".1"))
	require.Eventually(t, f.Gone, 10*time.Second, time.Millisecond)
}

// The kernel drops a watch, as it does when a file system is unmounted; the follower goes on without.
func TestLostWatch(t *testing.T) {
	w := &Watcher{}
	dir := t.TempDir()
	path, other := filepath.Join(dir, "log"), filepath.Join(dir, "other")
	write(t, path, "")
	write(t, other, "")
	f, watched := follow(t, w, path), follow(t, w, other)

	w.mu.Lock()
	_, err := unix.InotifyRmWatch(w.loop.fd, uint32(f.src.wd))
	w.mu.Unlock()
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return f.src.wd < 0 && w.unwatched == 1
	}, 10*time.Second, time.Millisecond)

	write(t, path, "polled")
	told(t, f)
	write(t, other, "watched")
	told(t, watched)
	require.NoError(t, os.Rename(path, path+".1"))
	require.Eventually(t, f.Gone, 10*time.Second, time.Millisecond)
}

// Events got lost; everything is looked at.
func TestOverflow(t *testing.T) {
	w := &Watcher{}
	path := filepath.Join(t.TempDir(), "log")
	write(t, path, "a")
	f := follow(t, w, path)
	w.mu.Lock()
	defer w.mu.Unlock()
	require.NoError(t, os.Remove(path)) // the loop cannot handle this event, for want of the lock
	event := make([]byte, unix.SizeofInotifyEvent)
	binary.NativeEndian.PutUint32(event[4:], unix.IN_Q_OVERFLOW)
	w.dispatch(event)
	assert.True(t, f.Gone())
}

// With the last follower goes everything, and the next one finds it new.
func TestEndsAndBeginsAgain(t *testing.T) {
	w := &Watcher{}
	path := filepath.Join(t.TempDir(), "log")
	write(t, path, "a")
	for range 3 {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		f := w.Follow(fd, path)
		write(t, path, "b")
		told(t, f)
		f.Leave()
		assert.Zero(t, w.Followers())
		w.mu.Lock()
		assert.Nil(t, w.loop)
		w.mu.Unlock()
		assert.ErrorIs(t, unix.Fstat(fd, new(unix.Stat_t)), unix.EBADF)
	}
}
