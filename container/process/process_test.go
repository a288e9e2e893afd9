package process_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/containertest"
	"github.com/deakit/deakit/container/process"
)

func TestMain(m *testing.M) {
	containertest.Helper()
	goleak.VerifyTestMain(m)
}

// open returns a back end that is closed with the test.
func open(t testing.TB, opts process.Options) *process.Backend {
	t.Helper()
	if opts.Depot == "" {
		opts.Depot = t.TempDir()
	}
	b, err := process.New(opts)
	require.NoError(t, err)
	t.Cleanup(func() { shut(t, b) })
	return b
}

func shut(t testing.TB, b *process.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(t, b.Close(ctx))
}

func TestConformance(t *testing.T) {
	const grace = 500 * time.Millisecond
	containertest.Run(t, containertest.Config{
		StopGrace: grace,
		New: func(t *testing.T) container.Backend {
			depot := t.TempDir()
			b := open(t, process.Options{Depot: depot, StopGrace: grace, WatchInterval: 50 * time.Millisecond})
			t.Cleanup(func() {
				// Registered last, so first: containers are still there. What remains is checked after Close.
			})
			return b
		},
	})
	_ = os.Getpid
}
