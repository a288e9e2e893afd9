package runc_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/containertest"
	"github.com/deakit/deakit/container/runc"
	"github.com/deakit/deakit/internal/needs"
)

func TestMain(m *testing.M) {
	containertest.Helper()
	helper()
	restore := keepForwarding()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		restore()
		os.Exit(code)
	}))
}

// keepForwarding returns what sets the machine's setting back that the back end changes.
func keepForwarding() (restore func()) {
	const name = "/proc/sys/net/ipv4/ip_forward"
	before, err := os.ReadFile(name)
	return func() {
		if err == nil {
			_ = os.WriteFile(name, before, 0o644) // who may not write it has not changed it
		}
	}
}

// requirements skips where containers cannot be.
func requirements(t testing.TB) {
	t.Helper()
	needs.Root(t)
	needs.Tool(t, "runc", "runc")
}

// open returns a back end that is closed with the test, with all its containers.
func open(t testing.TB, opts runc.Options) *runc.Backend {
	t.Helper()
	requirements(t)
	if opts.Depot == "" {
		opts.Depot = depotDir(t)
	}
	b, err := runc.New(opts)
	require.NoError(t, err)
	t.Cleanup(func() { shut(t, b) })
	return b
}

// depotDir returns a directory, which is removed with the test if it is empty of mounts.
func depotDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "runc-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func shut(t testing.TB, b *runc.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	require.NoError(t, b.Close(ctx))
}

func create(t testing.TB, b *runc.Backend, spec container.Spec) container.Container {
	t.Helper()
	c, err := b.Create(context.Background(), spec)
	require.NoError(t, err)
	return c
}

func TestConformance(t *testing.T) {
	const grace = 500 * time.Millisecond
	containertest.Run(t, containertest.Config{
		StopGrace: grace,
		New: func(t *testing.T) container.Backend {
			return open(t, runc.Options{StopGrace: grace})
		},
		Open: func(t *testing.T, dir string) container.Backend {
			return open(t, runc.Options{StopGrace: grace, Depot: dir})
		},
	})
}
