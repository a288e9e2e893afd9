package instance_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
)

const (
	patience = 2 * time.Minute // on machines that have much else to do
	tick     = time.Millisecond
)

func TestMain(m *testing.M) {
	testapp.Main()
	goleak.VerifyTestMain(m)
}

// node is what instances run on.
type node struct {
	t       *testing.T
	backend *process.Backend
	store   *droplet.Store
	ledger  *resources.Ledger
	cfg     instance.Config
	app     testapp.Droplet

	mu      sync.Mutex
	changes []instance.Change
	changed chan struct{}
}

func newNode(t *testing.T, app testapp.Droplet) *node {
	t.Helper()
	dir := t.TempDir()
	backend, err := process.New(process.Options{
		Depot: filepath.Join(dir, "depot"), StopGrace: 2 * time.Second, WatchInterval: 20 * time.Millisecond,
	})
	require.NoError(t, err)
	store, err := droplet.NewStore(filepath.Join(dir, "droplets"), droplet.StoreOptions{})
	require.NoError(t, err)
	n := &node{
		t: t, backend: backend, store: store, changed: make(chan struct{}, 1000), app: app,
		ledger: resources.NewLedger(resources.Capacity{MemoryBytes: 1 << 30, DiskBytes: 10 << 30}),
		cfg:    instance.Config{CrashDir: filepath.Join(dir, "crashes"), SampleInterval: 50 * time.Millisecond},
	}
	t.Cleanup(func() {
		assert.Equal(t, resources.Amount{}, n.ledger.Reserved(), "everything reserved is given back")
		left, err := backend.List(context.Background())
		assert.NoError(t, err)
		assert.Empty(t, left, "no container is left")
		assert.Eventually(t, func() bool { // a fetch that nobody waits for any more holds it for a moment
			usage, err := store.Usage()
			return err == nil && usage.InUse == 0
		}, patience, tick, "no droplet is held")
		assert.NoError(t, backend.Close(context.Background()))
		assert.NoError(t, store.Close())
	})
	return n
}

func (n *node) message(mode string) messaging.StartMessage {
	return messaging.StartMessage{
		Droplet: "app", Name: "app", Version: "v", CCPartition: "default", URIs: []string{"app.example.com"},
		Services: messaging.Services{}, SHA1: n.app.SHA1, ExecutableURI: "http://store/droplet", Env: []string{testapp.Env(mode)},
		Limits: messaging.Limits{Mem: 256, Disk: 256, FDs: 1024},
	}
}

func (n *node) parts() instance.Parts {
	return instance.Parts{
		Backend: n.backend, Droplets: n.store, Ledger: n.ledger,
		Download: func(_ context.Context, _ string, w io.Writer) error {
			data, err := os.ReadFile(n.app.Path)
			if err != nil {
				return err
			}
			_, err = w.Write(data)
			return err
		},
		Observe: func(c instance.Change) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.changes = append(n.changes, c)
			n.changed <- struct{}{}
		},
	}
}

// run starts an instance and returns it with a channel that closes when its life is over.
func (n *node) run(ctx context.Context, m messaging.StartMessage) (*instance.Instance, <-chan struct{}) {
	n.t.Helper()
	return n.runOn(ctx, n.backend, m)
}

// runOn is run on another back end than the node's own.
func (n *node) runOn(ctx context.Context, backend container.Backend, m messaging.StartMessage) (*instance.Instance, <-chan struct{}) {
	n.t.Helper()
	parts := n.parts()
	parts.Backend = backend
	i, err := instance.New(m, n.cfg, parts)
	require.NoError(n.t, err)
	over := make(chan struct{})
	go func() { defer close(over); i.Run(ctx) }()
	n.t.Cleanup(func() { i.Stop(); <-over; i.Release() })
	return i, over
}

func (n *node) states() []messaging.State {
	n.mu.Lock()
	defer n.mu.Unlock()
	var states []messaging.State
	for _, c := range n.changes {
		if c.From != c.Status.State {
			states = append(states, c.Status.State)
		}
	}
	return states
}

func (n *node) await(i *instance.Instance, state messaging.State) instance.Status {
	n.t.Helper()
	deadline := time.After(patience)
	for {
		if s := i.Status(); s.State == state {
			return s
		}
		select {
		case <-n.changed:
		case <-deadline:
			n.t.Fatalf("not %s after 20 s: %v", state, n.states())
		}
	}
}

func wait(t *testing.T, over <-chan struct{}) {
	t.Helper()
	select {
	case <-over:
	case <-time.After(patience):
		t.Fatal("the life of the instance does not end")
	}
}

func TestStartAndStop(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	m := n.message(testapp.Serves)
	m.HealthCheckTimeout = 1<<63 - 1 // an absurd time is a long one, not none
	i, over := n.run(t.Context(), m)
	s := n.await(i, messaging.Running)
	assert.Len(t, s.ID, 32)
	assert.Len(t, i.PrivateID(), 64)
	assert.NotZero(t, s.HostPort)
	assert.Equal(t, resources.Amount{MemoryBytes: 256 << 20, DiskBytes: 256 << 20}, n.ledger.Reserved())
	home, ok := s.Container.OnHost(container.AppHome)
	require.True(t, ok)
	assert.FileExists(t, filepath.Join(home, "app/hello.txt"))
	require.Eventually(t, func() bool { return i.Status().Usage.MemoryBytes > 0 }, patience, 10*time.Millisecond)

	i.Stop()
	wait(t, over)
	assert.Equal(t, []messaging.State{messaging.Born, messaging.Starting, messaging.Running, messaging.Stopping, messaging.Stopped}, n.states())
	i.Stop() // once more is harmless
	assert.False(t, i.Evacuate())
	assert.NoDirExists(t, home)
}

func TestCrash(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	i, over := n.run(t.Context(), n.message(testapp.Serves))
	s := n.await(i, messaging.Running)
	_, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/exit", s.HostPort))
	require.Error(t, err, "the app ends before it answers")
	http.DefaultClient.CloseIdleConnections()
	wait(t, over)
	s = i.Status()
	assert.Equal(t, []messaging.State{messaging.Born, messaging.Starting, messaging.Running, messaging.Crashed}, n.states())
	assert.Equal(t, 3, s.ExitStatus)
	assert.Equal(t, "app instance exited", s.ExitDescription)
	assert.NoError(t, s.StartError)
	assert.Equal(t, resources.Amount{DiskBytes: 256 << 20}, n.ledger.Reserved(), "the files of the crash are still there")
	log, err := os.ReadFile(filepath.Join(s.CrashPath, "logs/stdout.log"))
	require.NoError(t, err)
	assert.Equal(t, "app in mode serves\n", string(log))
	i.Release()
}

func TestEndsWhileStarting(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	for _, tc := range []struct {
		name        string
		edit        func(*messaging.StartMessage)
		status      int
		description string
	}{
		{testapp.ExitsAtOnce, nil, 4, "app instance exited"},
		{testapp.NeverListens, func(m *messaging.StartMessage) { m.HealthCheckTimeout = 1 }, -1, "failed to accept connections within health check timeout"},
		{"wrong digest", func(m *messaging.StartMessage) { m.SHA1 = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12" }, -1, "failed to start"},
		{"no digest", func(m *messaging.StartMessage) { m.SHA1 = "" }, -1, "failed to start"},
		{"unknown protocol", func(m *messaging.StartMessage) {
			m.EgressNetworkRules = []messaging.EgressRule{{Protocol: "sctp"}}
		}, -1, "failed to start"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n.mu.Lock()
			n.changes = nil
			n.mu.Unlock()
			m := n.message(tc.name)
			if tc.edit != nil {
				tc.edit(&m)
			}
			i, over := n.run(t.Context(), m)
			wait(t, over)
			assert.Equal(t, []messaging.State{messaging.Born, messaging.Starting, messaging.Crashed}, n.states(), "exactly one end")
			assert.Equal(t, tc.status, i.Status().ExitStatus)
			assert.Equal(t, tc.description, i.Status().ExitDescription)
			assert.Error(t, i.Status().StartError, "in more words")
			i.Release()
		})
	}
}

func TestNoStartCommand(t *testing.T) {
	n := newNode(t, testapp.PackDroplet(t, map[string]string{droplet.InfoName: "start_command: null\n", "app/x": ""}))
	i, over := n.run(t.Context(), n.message("x"))
	wait(t, over)
	assert.Equal(t, "missing start command", i.Status().ExitDescription)

	m := n.message("x")
	m.StartCommand, m.URIs = "echo from the message; sleep 60", nil
	i, _ = n.run(t.Context(), m)
	n.await(i, messaging.Running)
}

func TestDropletOfTheOldKind(t *testing.T) {
	n := newNode(t, testapp.PackDroplet(t, map[string]string{"startup": "#!/bin/sh\necho started >logs/mark\nexec sleep 60\n"}))
	m := n.message("x")
	m.URIs = nil
	i, _ := n.run(t.Context(), m)
	s := n.await(i, messaging.Running)
	home, _ := s.Container.OnHost(container.AppHome)
	require.Eventually(t, func() bool {
		data, err := os.ReadFile(filepath.Join(home, "logs/mark"))
		return err == nil && string(data) == "started\n"
	}, patience, 5*time.Millisecond)
}

func TestStateFile(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, map[string]string{"droplet.yaml": "state_file: state.json\n"}))
	i, _ := n.run(t.Context(), n.message(testapp.TellsByFile))
	s := n.await(i, messaging.Running)
	home, _ := s.Container.OnHost(container.AppHome)
	assert.FileExists(t, filepath.Join(home, "state.json"))
}

func TestStopWhileStarting(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	i, over := n.run(t.Context(), n.message(testapp.NeverListens))
	require.Eventually(t, func() bool { return i.Status().ProcessID != 0 }, patience, time.Millisecond)
	i.Stop()
	wait(t, over)
	assert.Equal(t, []messaging.State{messaging.Born, messaging.Starting, messaging.Stopping, messaging.Stopped}, n.states())
}

// Stops at any moment leave nothing and end in STOPPED; newNode's cleanup looks at what is left.
func TestStopAtAnyMoment(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	for pause := time.Duration(0); pause < 30*time.Millisecond; pause += 1500 * time.Microsecond {
		i, over := n.run(t.Context(), n.message(testapp.NeverListens))
		time.Sleep(pause) // the moment is the point of the test
		i.Stop()
		wait(t, over)
		assert.Equal(t, messaging.Stopped, i.Status().State)
	}
	for _, s := range n.states() {
		assert.NotEqual(t, messaging.Crashed, s)
	}
}

func TestEvacuateWhileStarting(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	i, over := n.run(t.Context(), n.message(testapp.Serves))
	n.await(i, messaging.Starting)
	require.True(t, i.Evacuate())
	require.Eventually(t, func() bool { return i.Status().Usage.MemoryBytes > 0 }, patience, time.Millisecond, "it comes up")
	assert.Equal(t, messaging.Evacuating, i.Status().State)
	i.Stop()
	wait(t, over)
	assert.Equal(t, []messaging.State{messaging.Born, messaging.Starting, messaging.Evacuating, messaging.Stopping, messaging.Stopped}, n.states())
}

// An instance that is marked before its life begins comes up too, and has begun at that moment.
func TestEvacuateBeforeStarting(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	begun := time.Now()
	i, err := instance.New(n.message(testapp.Serves), n.cfg, n.parts())
	require.NoError(t, err)
	require.True(t, i.Evacuate())
	over := make(chan struct{})
	go func() { defer close(over); i.Run(t.Context()) }()
	require.Eventually(t, func() bool { return i.Status().Usage.MemoryBytes > 0 }, patience, time.Millisecond, "it comes up")
	assert.WithinRange(t, i.Status().StartedAt, begun, time.Now())
	i.Stop()
	wait(t, over)
}

func TestOutOfMemory(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	m := n.message(testapp.EatsMemory)
	m.Limits.Mem, m.URIs = 64, nil
	i, over := n.run(t.Context(), m)
	wait(t, over)
	assert.Equal(t, messaging.Crashed, i.Status().State)
	assert.Equal(t, container.EventOutOfMemory, i.Status().ExitDescription)
	i.Release()
}

func TestCutOff(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	ctx, cancel := context.WithCancel(t.Context())
	i, over := n.run(ctx, n.message(testapp.Serves))
	n.await(i, messaging.Running)
	cancel()
	wait(t, over)
	assert.Equal(t, messaging.Stopped, i.Status().State)
}

func TestNoRoom(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	m := n.message(testapp.Serves)
	for _, disk := range []int64{1 << 20, 1 << 44, 1<<63 - 1} {
		m.Limits.Disk = disk
		_, err := instance.New(m, n.cfg, n.parts())
		var short *resources.InsufficientError
		require.True(t, errors.As(err, &short), "%d MB: %v", disk, err)
		assert.Equal(t, resources.Disk, short.Resource)
	}
	assert.Empty(t, n.states(), "nothing is told of what never was")
}

func TestUpdate(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	m := n.message(testapp.Serves)
	m.URIs = nil
	i, over := n.run(t.Context(), m)
	n.await(i, messaging.Running)
	uris, same, other := []string{"a", "b"}, "v", "v2"
	before, after := i.Update(&uris, &same)
	assert.Equal(t, before.ID, after.ID, "the version is the same")
	assert.Equal(t, uris, after.URIs)
	before, after = i.Update(nil, &other)
	assert.NotEqual(t, before.ID, after.ID)
	assert.Equal(t, uris, after.URIs, "nil leaves the routes")
	assert.Equal(t, "v2", after.Version)

	i.Stop() // the routes are withdrawn now, and must not come back
	before, after = i.Update(&[]string{"c"}, &same)
	assert.Equal(t, before, after)
	assert.Equal(t, uris, after.URIs)
	wait(t, over)
}
