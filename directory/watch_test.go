package directory

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The kernel drops a watch, as it does when a file system is unmounted; the tail goes on without.
func TestTailWithoutWatch(t *testing.T) {
	f := newFixture(t, Config{})
	path := f.write("log", "")
	f.write("other", "")
	c, other := f.tail(t, "log", ""), f.tail(t, "other", "")

	w := &f.server.watcher
	w.mu.Lock()
	var src *source
	for s := range w.sources {
		if s.id.path == path {
			src = s
		}
	}
	require.NotNil(t, src)
	_, err := unix.InotifyRmWatch(w.loop.fd, uint32(src.wd))
	w.mu.Unlock()
	require.NoError(t, err)
	eventually(t, "the watch is gone", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return src.wd < 0 && w.unwatched == 1
	})

	f.append("log", "polled")
	c.expect("polled")
	f.append("other", "watched")
	other.expect("watched")
	require.NoError(t, os.Rename(path, path+".1"))
	rest, err := c.rest()
	assert.NoError(t, err)
	assert.Empty(t, rest)
	eventually(t, "the tail has ended", func() bool { return f.server.followers() == 1 })
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Zero(t, w.unwatched)
}

// Events got lost; everything is looked at.
func TestWatchOverflow(t *testing.T) {
	f := newFixture(t, Config{})
	path := f.write("log", "a")
	f.tail(t, "log", "&tail_offset=0").expect("a")
	w := &f.server.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	require.NoError(t, os.Remove(path)) // the loop cannot handle this event, for want of the lock
	event := make([]byte, unix.SizeofInotifyEvent)
	binary.NativeEndian.PutUint32(event[4:], unix.IN_Q_OVERFLOW)
	for src := range w.sources {
		w.dispatch(event)
		select {
		case <-src.gone:
		default:
			t.Error("the deletion went unnoticed")
		}
	}
}
