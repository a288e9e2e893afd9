package applog_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/internal/needs"
)

type collector struct {
	mu    sync.Mutex
	texts []string
}

func (c *collector) Emit(line applog.Line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.texts = append(c.texts, string(line.Stream)+": "+line.Text)
}

// An app in a real container: its whole log is there when the container goes, down to the last words.
func TestLogOfContainer(t *testing.T) {
	bash := needs.Tool(t, "bash", "bash")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	backend, err := process.New(process.Options{Depot: t.TempDir()})
	require.NoError(t, err)
	defer func() { assert.NoError(t, backend.Close(context.Background())) }()
	c, err := backend.Create(ctx, container.Spec{})
	require.NoError(t, err)
	info, err := c.Info(ctx)
	require.NoError(t, err)

	var got collector
	follower, err := applog.NewFollower(applog.FollowerConfig{}, &got)
	require.NoError(t, err)
	tail, err := follower.Follow(applog.Log{Root: info.HostRoot})
	require.NoError(t, err)
	script := `mkdir -p logs; exec >>logs/stdout.log 2>>logs/stderr.log
trap 'echo bye; printf "last words" >&2; exit' TERM
echo hello; while :; do sleep 0.01; done`
	app, err := c.Run(ctx, container.ProcessSpec{Path: bash}, container.IO{Stdin: strings.NewReader(script)})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		got.mu.Lock()
		defer got.mu.Unlock()
		return len(got.texts) == 1
	}, 20*time.Second, time.Millisecond)

	require.NoError(t, c.Stop(ctx, false))
	_, err = app.Wait(ctx)
	require.NoError(t, err)
	require.NoError(t, tail.Stop(ctx))
	require.NoError(t, c.Destroy(ctx))
	assert.Subset(t, got.texts, []string{"stdout: hello", "stdout: bye"})
	assert.Equal(t, "stderr: last words", got.texts[len(got.texts)-1], "bash may have told of a signal before")
}
