package program_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/program"
)

func TestRun(t *testing.T) {
	out, err := program.Run(t.Context(), "sh", "-c", `echo "$1"; cat; echo unread >&2`, "sh", "a b")
	require.NoError(t, err)
	assert.Equal(t, "a b\n", string(out))
	out, err = program.Feed(t.Context(), "fed", "cat")
	require.NoError(t, err)
	assert.Equal(t, "fed", string(out))
}

func TestFailures(t *testing.T) {
	out, err := program.Run(t.Context(), "sh", "-c", `echo part; echo "bad `+"\x07"+`disk" >&2; exit 3`, "secret")
	require.EqualError(t, err, "sh: exit status 3: bad disk")
	assert.Equal(t, "part\n", string(out))
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 3, exit.ExitCode())

	_, err = program.Run(t.Context(), "no-such-program")
	require.ErrorIs(t, err, exec.ErrNotFound)

	_, err = program.Run(t.Context(), "sh", "-c", "yes | head -c 100000 >&2; exit 1")
	require.Error(t, err)
	assert.Less(t, len(err.Error()), 1200)

	_, err = program.Run(t.Context(), "yes")
	require.ErrorContains(t, err, "more output than")
}

// TestEnd kills all of the group.
func TestEnd(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "alive")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := program.Run(ctx, "sh", "-c", "(echo started; sleep 1000) > "+pipe+" & wait")
		done <- err
	}()
	f, err := os.Open(pipe)
	require.NoError(t, err)
	defer f.Close()
	_, err = io.ReadFull(f, make([]byte, len("started\n")))
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	rest, err := io.ReadAll(f)
	require.NoError(t, err)
	assert.Empty(t, strings.TrimSpace(string(rest)))
}
