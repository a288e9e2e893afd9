package runc

import (
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestFileWatch(t *testing.T) {
	w, err := newFileWatch(slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(w.run)
	defer running.Wait()
	defer w.close()

	dir := t.TempDir()
	told := make(chan string, 100)
	watches := map[string]int32{}
	for _, name := range []string{"a", "b"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("12345678"), 0o600))
		watches[name], err = w.add(path, func() { told <- name })
		require.NoError(t, err)
		assert.NotZero(t, watches[name])
	}
	write := func(name string) {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("x"), 3)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	write("b")
	assert.Equal(t, "b", <-told)
	w.remove(watches["a"])
	w.remove(watches["a"])
	w.remove(0)
	write("a")
	write("b")
	assert.Equal(t, "b", <-told)
	_, err = w.add(filepath.Join(dir, "none"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)

	// When events were lost, all may have changed.
	overflow := make([]byte, unix.SizeofInotifyEvent)
	binary.NativeEndian.PutUint32(overflow[4:], unix.IN_Q_OVERFLOW)
	assert.Len(t, w.callsFor(overflow), 1)
	assert.Empty(t, w.callsFor(overflow[:7]), "half an event")
}
