package metered_test

import (
	"context"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/containertest"
	"github.com/deakit/deakit/container/metered"
	"github.com/deakit/deakit/container/process"
)

func TestMain(m *testing.M) {
	containertest.Helper()
	goleak.VerifyTestMain(m)
}

const stopGrace = 500 * time.Millisecond

func open(t *testing.T, depot string) *metered.Backend {
	t.Helper()
	b, err := process.New(process.Options{Depot: depot, StopGrace: stopGrace, WatchInterval: 50 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close(context.Background())) })
	return metered.New(b)
}

// A wrapped back end is as good as the one inside, as far as it does anything: processes are not wrapped.
func TestConformance(t *testing.T) {
	b := open(t, t.TempDir())
	containertest.Run(t, containertest.Config{
		New:       func(*testing.T) container.Backend { return b },
		StopGrace: stopGrace,
		Groups:    []string{"Life", "IO", "Files", "Net"},
	})
}

func TestFigures(t *testing.T) {
	b := open(t, t.TempDir())
	ctx := t.Context()
	assert.Equal(t, metered.Stats{}, b.Stats())
	c, err := b.Create(ctx, container.Spec{Handle: "one"})
	require.NoError(t, err)
	_, err = b.Create(ctx, container.Spec{Handle: "one"})
	require.ErrorIs(t, err, container.ErrExists)
	p, err := c.Run(ctx, container.ProcessSpec{Path: "true"}, container.IO{})
	require.NoError(t, err)
	_, err = p.Wait(ctx)
	require.NoError(t, err)
	again, err := b.Lookup(ctx, "one")
	require.NoError(t, err)
	_, err = again.Info(ctx)
	require.NoError(t, err)
	require.NoError(t, again.StreamIn(ctx, "/x", "", strings.NewReader(strings.Repeat("\x00", 1024))))
	_, err = again.StreamOut(ctx, "/not/there")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, again.Destroy(ctx))
	require.ErrorIs(t, c.Destroy(ctx), container.ErrNotFound)
	stats := b.Stats()
	assert.EqualValues(t, 9, stats.Requests)
	assert.EqualValues(t, 2, stats.Errors, "that a file is not there is none")
	assert.Positive(t, stats.Time)
	assert.Equal(t, uint64(9), stats.Varz()["warden_request_count"])
	assert.Equal(t, uint64(2), stats.Varz()["warden_error_response_count"])
	assert.Equal(t, stats.Time.Milliseconds(), stats.Varz()["total_warden_response_time_in_ms"])
}
