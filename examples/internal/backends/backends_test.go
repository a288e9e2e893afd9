package backends_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/garden"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/warden"
	"github.com/deakit/deakit/examples/internal/backends"
	"github.com/deakit/deakit/internal/needs"
)

func TestMain(m *testing.M) {
	backends.Begin()
	asOrdinaryUser()
	goleak.VerifyTestMain(m)
}

func config(t *testing.T) backends.Config {
	return backends.Config{Depot: filepath.Join(t.TempDir(), "not/yet/there")}
}

// withoutRunc lets a test be on a machine that has no runc.
func withoutRunc(t *testing.T) { t.Setenv("PATH", t.TempDir()) }

func withRunc(t *testing.T) {
	t.Helper()
	needs.Root(t)
	needs.Tool(t, "runc", "runc")
}

func TestChooseWhatWasAskedFor(t *testing.T) {
	withoutRunc(t)
	for _, name := range []string{backends.Process, backends.Runc} {
		choice, err := backends.Choose(t.Context(), name, config(t))
		require.NoError(t, err)
		assert.Equal(t, name+", because of --backend "+name, choice.String())
	}
	_, err := backends.Choose(t.Context(), "magic", config(t))
	assert.ErrorContains(t, err, "auto, process, runc")
}

func TestAutoTakesTheStrongest(t *testing.T) {
	withRunc(t)
	choice, err := backends.Choose(t.Context(), backends.Auto, config(t))
	require.NoError(t, err)
	assert.Equal(t, backends.Runc, choice.Name, choice.Why)
	withoutRunc(t)
	choice, err = backends.Choose(t.Context(), backends.Auto, config(t))
	require.NoError(t, err)
	assert.Equal(t, backends.Process, choice.Name)
	assert.Contains(t, choice.Why, "runc does not work here: runc: ")
}

// Containers that an earlier run left are not given up for a stronger back end, nor for want of one.
func TestAutoGoesOnWhereContainersAre(t *testing.T) {
	withoutRunc(t)
	for _, tc := range []struct{ suffix, want string }{{"", backends.Process}, {"-runc", backends.Runc}} {
		cfg := config(t)
		require.NoError(t, os.MkdirAll(filepath.Join(cfg.Depot+tc.suffix, "left"), 0o755))
		choice, err := backends.Choose(t.Context(), backends.Auto, cfg)
		require.NoError(t, err)
		assert.Equal(t, tc.want, choice.Name)
		assert.Contains(t, choice.Why, "left 1 containers")

		cfg.Fresh = true
		choice, err = backends.Choose(t.Context(), backends.Auto, cfg)
		require.NoError(t, err)
		assert.Equal(t, backends.Process, choice.Name)
		assert.Contains(t, choice.Why, "does not work here")
	}
}

func TestOpenRuncWhereThereIsNone(t *testing.T) {
	withoutRunc(t)
	_, err := backends.Open(t.Context(), backends.Choice{Name: backends.Runc}, config(t))
	assert.ErrorContains(t, err, "runc")
	assert.ErrorContains(t, err, "doctor")
	_, err = backends.Open(t.Context(), backends.Choice{Name: "magic"}, config(t))
	assert.Error(t, err)
}

// What was left is there again, in a depot of its own, and the other back end says so.
func TestLeaveAndClose(t *testing.T) {
	withRunc(t)
	var log bytes.Buffer
	cfg := config(t)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	b, err := backends.Open(t.Context(), backends.Choice{Name: backends.Runc}, cfg)
	require.NoError(t, err)
	assert.Equal(t, "runc", b.Capabilities().Name)
	_, err = b.Create(t.Context(), container.Spec{Handle: "stays"})
	require.NoError(t, err)
	require.NoError(t, b.Leave(t.Context()))

	other, err := backends.Open(t.Context(), backends.Choice{Name: backends.Process}, cfg)
	require.NoError(t, err)
	assert.Equal(t, "process", other.Capabilities().Name)
	assert.Contains(t, log.String(), "start with --backend runc")
	_, err = other.Lookup(t.Context(), "stays")
	assert.ErrorIs(t, err, container.ErrNotFound)
	require.NoError(t, other.Close(t.Context()))

	b, err = backends.Open(t.Context(), backends.Choice{Name: backends.Runc}, cfg)
	require.NoError(t, err)
	_, err = b.Lookup(t.Context(), "stays")
	assert.NoError(t, err)
	require.NoError(t, b.Close(context.Background()))
	log.Reset()
	other, err = backends.Open(t.Context(), backends.Choice{Name: backends.Process}, cfg)
	require.NoError(t, err)
	assert.NotContains(t, log.String(), "--backend runc", "nothing is left")
	require.NoError(t, other.Close(t.Context()))
}

func TestDoctor(t *testing.T) {
	for _, name := range []string{backends.Process, backends.Runc, backends.Auto} {
		if name != backends.Process {
			withRunc(t)
		}
		var out bytes.Buffer
		cfg := config(t)
		require.NoError(t, backends.Doctor(t.Context(), &out, name, cfg), out.String())
		assert.Contains(t, out.String(), "--backend "+name+" takes ")
		assert.NotContains(t, out.String(), "missing  a container")
		assert.NoDirExists(t, filepath.Dir(cfg.Depot), "it only looks")
	}
}

func TestDoctorTellsWhatIsMissing(t *testing.T) {
	withoutRunc(t)
	var out bytes.Buffer
	assert.ErrorIs(t, backends.Doctor(t.Context(), &out, backends.Runc, config(t)), backends.ErrUnusable)
	assert.Regexp(t, `(?m)^  missing  runc .*\n +remedy: apt-get install runc`, out.String())
	out.Reset()
	require.NoError(t, backends.Doctor(t.Context(), &out, backends.Auto, config(t)), "there is another")
	assert.Contains(t, out.String(), "--backend auto takes process, because runc does not work here")
}

// A Warden server comes first where the configuration names one that listens.
func TestWarden(t *testing.T) {
	withoutRunc(t)
	cfg := config(t)
	_, err := backends.Choose(t.Context(), backends.Warden, cfg)
	assert.ErrorContains(t, err, "warden_socket")

	dir, err := os.MkdirTemp("", "warden") // short enough for a socket
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	cfg.WardenSocket = filepath.Join(dir, "sock")
	choice, err := backends.Choose(t.Context(), backends.Auto, cfg)
	require.NoError(t, err)
	assert.Equal(t, backends.Process, choice.Name)
	assert.Contains(t, choice.Why, "no Warden server listens at "+cfg.WardenSocket)
	var out bytes.Buffer
	assert.ErrorIs(t, backends.Doctor(t.Context(), &out, backends.Warden, cfg), backends.ErrUnusable)
	assert.Contains(t, out.String(), "correct warden_socket")

	behind, err := process.New(process.Options{Depot: filepath.Join(dir, "depot")})
	require.NoError(t, err)
	server, err := warden.NewServer(warden.Config{Backend: behind, StateDir: filepath.Join(dir, "state")})
	require.NoError(t, err)
	listener, err := warden.Listen(cfg.WardenSocket, 0o700)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		assert.NoError(t, <-ended)
		assert.NoError(t, behind.Close(context.Background()))
	})

	choice, err = backends.Choose(t.Context(), backends.Auto, cfg)
	require.NoError(t, err)
	assert.Equal(t, "warden, because a server listens at "+cfg.WardenSocket, choice.String())
	out.Reset()
	require.NoError(t, backends.Doctor(t.Context(), &out, backends.Auto, cfg))
	assert.Contains(t, out.String(), "--backend auto takes warden")
	b, err := backends.Open(t.Context(), choice, cfg)
	require.NoError(t, err)
	_, err = b.Create(t.Context(), container.Spec{Handle: "stays"})
	require.NoError(t, err)
	require.NoError(t, b.Close(t.Context()))
	choice, err = backends.Choose(t.Context(), backends.Auto, cfg)
	require.NoError(t, err)
	assert.Equal(t, backends.Warden, choice.Name)
	assert.Contains(t, choice.Why, "left 1 containers")
}

// A Garden server is taken where the configuration names one, also if it is away for now.
func TestGarden(t *testing.T) {
	cfg := config(t)
	_, err := backends.Choose(t.Context(), backends.Garden, cfg)
	assert.ErrorContains(t, err, "garden_socket")

	dir, err := os.MkdirTemp("", "garden") // short enough for a socket
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	cfg.GardenSocket = filepath.Join(dir, "sock")
	choice, err := backends.Choose(t.Context(), backends.Auto, cfg)
	require.NoError(t, err)
	assert.Equal(t, "garden, because the configuration has a Garden server at "+cfg.GardenSocket, choice.String())
	_, err = backends.Open(t.Context(), choice, cfg)
	require.ErrorIs(t, err, garden.ErrConnection)
	var out bytes.Buffer
	assert.ErrorIs(t, backends.Doctor(t.Context(), &out, backends.Auto, cfg), backends.ErrUnusable)
	assert.Contains(t, out.String(), "correct deakit.garden_socket")

	listener, err := net.Listen("unix", cfg.GardenSocket)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]string{"/ping": "{}", "/containers": `{"Handles":["a"]}`}[r.URL.Path]
		_, _ = io.WriteString(w, answer)
	}))
	server.Listener = listener
	server.Start()
	defer server.Close()
	require.NoError(t, backends.Doctor(t.Context(), &out, backends.Auto, cfg))
	b, err := backends.Open(t.Context(), choice, cfg)
	require.NoError(t, err)
	handles, err := b.List(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, handles)
	require.NoError(t, b.Close(t.Context()))

	left := filepath.Join(cfg.Depot, "app")
	require.NoError(t, os.MkdirAll(left, 0o700))
	choice, err = backends.Choose(t.Context(), backends.Auto, cfg)
	require.NoError(t, err)
	assert.Equal(t, backends.Process, choice.Name, "where containers were left")
}

// Containers that share the files of the host do not see those of the node, whatever name they go by.
func TestHide(t *testing.T) {
	withRunc(t)
	dir, err := os.MkdirTemp("/opt", "deakit-test-") // where containers see the host's files
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	for _, name := range []string{"seen", "base", "other"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "secret"), []byte(name), 0o644))
	}
	require.NoError(t, os.Symlink(filepath.Join(dir, "other"), filepath.Join(dir, "link")))
	cfg := config(t)
	cfg.Hide = []string{filepath.Join(dir, "base"), filepath.Join(dir, "link"), filepath.Join(dir, "not/there")}
	b, err := backends.Open(t.Context(), backends.Choice{Name: backends.Runc}, cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close(context.Background())) }()
	c, err := b.Create(t.Context(), container.Spec{})
	require.NoError(t, err)
	var out bytes.Buffer
	p, err := c.Run(t.Context(), container.ProcessSpec{Path: "sh", Args: []string{"-c", "cat " + dir + "/*/secret"}}, container.IO{Stdout: &out})
	require.NoError(t, err)
	_, err = p.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "seen", out.String())
}
