package gardentest_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"code.cloudfoundry.org/garden/server"
	"code.cloudfoundry.org/lager/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/containertest"
	"github.com/deakit/deakit/container/garden"
	deakit "github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/internal/testapp"
)

const stopGrace = 500 * time.Millisecond

func TestMain(m *testing.M) {
	testapp.Main()
	containertest.Helper()
	// The server has goroutines that never end, or a minute later.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("code.cloudfoundry.org/garden/server/streamer.(*Streamer).Stop.func1"),
		goleak.IgnoreAnyFunction("code.cloudfoundry.org/garden/server/bomberman.(*Bomberman).manageBombs"))
}

// serve runs Garden's server over plain processes and returns its socket.
func serve(t *testing.T) string {
	t.Helper()
	b, err := deakit.New(deakit.Options{Depot: t.TempDir(), StopGrace: stopGrace, WatchInterval: 50 * time.Millisecond})
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "garden")
	require.NoError(t, err)
	socket := filepath.Join(dir, "sock")
	s := server.New("unix", socket, 0, time.Minute, newAdapter(b), lager.NewLogger("garden"))
	require.NoError(t, s.SetupBomberman())
	l, err := s.Listen()
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, b.Close(ctx))
		require.NoError(t, s.Stop())
		require.NoError(t, <-served)
		require.NoError(t, os.RemoveAll(dir))
	})
	return socket
}

func connect(t *testing.T, socket string) *garden.Backend {
	t.Helper()
	caps := (&deakit.Backend{}).Capabilities()
	caps.Survives = false // the server of these tests does not
	b, err := garden.New(t.Context(), garden.Options{Address: socket, Capabilities: &caps})
	require.NoError(t, err)
	t.Cleanup(func() { shut(t, b) })
	return b
}

func shut(t *testing.T, b *garden.Backend) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(t, b.Close(ctx))
}

func TestConformance(t *testing.T) {
	containertest.Run(t, containertest.Config{
		StopGrace:  stopGrace,
		Tolerances: containertest.Tolerances{TextOnly: true, FixedLimits: true, FewSignals: true},
		New:        func(t *testing.T) container.Backend { return connect(t, serve(t)) },
	})
}

func shell(script string) container.ProcessSpec {
	return container.ProcessSpec{Path: "sh", Args: []string{"-c", script}}
}

// TestClientIsRestarted leaves containers to the next client.
func TestClientIsRestarted(t *testing.T) {
	socket := serve(t)
	first := connect(t, socket)
	c, err := first.Create(t.Context(), container.Spec{Handle: "stays", Properties: map[string]string{"owner": "test"}, Limits: container.Limits{PIDs: 99}})
	require.NoError(t, err)
	m, err := c.NetIn(t.Context(), 0, 0)
	require.NoError(t, err)
	p, err := c.Run(t.Context(), shell("while [ ! -e go ]; do sleep 0.01; done; exit 9"), container.IO{})
	require.NoError(t, err)
	waited := make(chan error)
	go func() {
		_, err := p.Wait(context.Background())
		waited <- err
	}()
	shut(t, first)
	require.ErrorIs(t, <-waited, garden.ErrClosed)
	_, err = first.Create(t.Context(), container.Spec{})
	require.ErrorIs(t, err, garden.ErrClosed)

	b := connect(t, socket)
	c, err = b.Lookup(t.Context(), "stays")
	require.NoError(t, err)
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"owner": "test"}, info.Properties)
	assert.Equal(t, []container.PortMapping{m}, info.Ports)
	assert.Equal(t, []uint32{1}, info.Processes)
	assert.EqualValues(t, 99, info.Limits.PIDs)
	p, err = c.Attach(t.Context(), 1, container.IO{})
	require.NoError(t, err)
	file, ok := info.OnHost("/home/vcap/go")
	require.True(t, ok)
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	status, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 9, status)
	next, err := c.Run(t.Context(), shell("true"), container.IO{})
	require.NoError(t, err)
	assert.EqualValues(t, 2, next.ID())
	_, err = next.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Stop(t.Context(), false))

	third := connect(t, socket)
	c, err = third.Lookup(t.Context(), "stays")
	require.NoError(t, err)
	_, err = c.Run(t.Context(), shell("true"), container.IO{})
	require.ErrorIs(t, err, container.ErrStopped)
}

func TestSignalsWithInput(t *testing.T) {
	b := connect(t, serve(t))
	c, err := b.Create(t.Context(), container.Spec{})
	require.NoError(t, err)
	var out bytes.Buffer
	// Its input has ended, so the server does not listen to its connection any more.
	p, err := c.Run(t.Context(), shell("cat; exec sleep 1000"), container.IO{Stdin: strings.NewReader("täxt"), Stdout: &out})
	require.NoError(t, err)
	require.NoError(t, p.Signal(t.Context(), syscall.SIGTERM))
	status, err := p.Wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 143, status)
	require.NoError(t, p.Signal(t.Context(), syscall.SIGKILL))
	require.ErrorIs(t, p.Signal(t.Context(), syscall.SIGUSR1), container.ErrUnsupported)
}
