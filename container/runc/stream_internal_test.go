package runc

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// echoWriter writes to a stream whenever something is read of it, so that it is never empty.
type echoWriter struct{ to *os.File }

func (w echoWriter) Write(p []byte) (int, error) { return w.to.Write(p) }

// TestEndlessStream releases a stream to which a process outside of the container writes without end.
func TestEndlessStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	out := echoWriter{}
	s, theirs, err := makeStream(path, &out)
	require.NoError(t, err)
	defer theirs.Close()
	out.to = theirs
	_, err = theirs.WriteString("more")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.pump()
	}()
	s.release()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it is still being read")
	}
}
