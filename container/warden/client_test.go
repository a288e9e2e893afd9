package warden_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/containertest"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/warden"
)

// connect returns a back end on a server, which is closed with the test.
func connect(t testing.TB, r *running, opts warden.Options) *warden.Backend {
	t.Helper()
	opts.Address = r.socket
	if opts.StateDir == "" {
		opts.StateDir = socketDir(t)
	}
	b, err := warden.New(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { shut(t, b) })
	return b
}

func shut(t testing.TB, b *warden.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(t, b.Close(ctx))
}

func TestConformance(t *testing.T) {
	containertest.Run(t, containertest.Config{
		StopGrace: stopGrace,
		New: func(t *testing.T) container.Backend {
			return connect(t, serve(t, warden.Config{Backend: processes(t, process.Options{})}), warden.Options{})
		},
	})
}
