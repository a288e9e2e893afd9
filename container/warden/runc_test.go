package warden_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/containertest"
	"github.com/deakit/deakit/container/runc"
	"github.com/deakit/deakit/container/warden"
	"github.com/deakit/deakit/internal/needs"
)

// boxes returns a back end of runc containers, which is closed with the test.
func boxes(t *testing.T, depot string) *runc.Backend {
	t.Helper()
	needs.Root(t)
	needs.Tool(t, "runc", "runc")
	b, err := runc.New(runc.Options{Depot: depot, StopGrace: stopGrace})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, b.Close(ctx))
	})
	return b
}

// TestConformanceOverRunc runs the suite over runc containers behind a server. In the tests of survival, server and client
// are killed together.
func TestConformanceOverRunc(t *testing.T) {
	needs.Root(t)
	needs.Tool(t, "runc", "runc")
	shared := sync.OnceValue(func() *warden.Backend {
		return connect(t, serve(t, warden.Config{Backend: boxes(t, socketDir(t))}), warden.Options{})
	})
	containertest.Run(t, containertest.Config{
		StopGrace: stopGrace,
		// What such containers have and plain processes, with which all is tested, have not.
		Groups: []string{"Run", "Files", "Hostile", "Net", "Limits", "Survive"},
		New:    func(*testing.T) container.Backend { return shared() },
		Open: func(t *testing.T, dir string) container.Backend {
			b := boxes(t, filepath.Join(dir, "depot"))
			r := serveAt(t, warden.Config{Backend: b, StateDir: filepath.Join(dir, "server")}, filepath.Join(dir, "sock"))
			return connect(t, r, warden.Options{StateDir: filepath.Join(dir, "client")})
		},
	})
}
