package warden_test

import (
	"context"
	"path/filepath"
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

// TestConformance runs the suite over plain processes behind a server. In the tests of survival, server and client are
// killed together.
func TestConformance(t *testing.T) {
	containertest.Run(t, containertest.Config{
		StopGrace: stopGrace,
		New: func(t *testing.T) container.Backend {
			return connect(t, serve(t, warden.Config{Backend: processes(t, process.Options{})}), warden.Options{})
		},
		Open: func(t *testing.T, dir string) container.Backend {
			b := processes(t, process.Options{Depot: filepath.Join(dir, "depot")})
			r := serve(t, warden.Config{Backend: b, StateDir: filepath.Join(dir, "server")})
			return connect(t, r, warden.Options{StateDir: filepath.Join(dir, "client")})
		},
	})
}
