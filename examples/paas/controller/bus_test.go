package controller_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/examples/paas/blobs"
	"github.com/deakit/deakit/examples/paas/controller"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/messaging/messagingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A bus has a controller that runs, and the test in the place of all others.
type bus struct {
	*controller.Controller
	t      *testing.T
	conn   *nats.Conn
	starts chan messaging.StartMessage // to any DEA
	stops  chan messaging.StopMessage
}

func newBus(t *testing.T, cfg controller.Config) *bus {
	t.Helper()
	server := messagingtest.NewServer(t)
	b := &bus{t: t, conn: server.Connect(), starts: make(chan messaging.StartMessage, 100), stops: make(chan messaging.StopMessage, 100)}
	store, err := blobs.New(blobs.Config{Dir: t.TempDir(), User: "u", Password: "p"}, "http://127.0.0.1:1")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, store.Close()) })
	cfg.Tick = 10 * time.Millisecond
	b.Controller = controller.New(cfg, server.Connect(), store)
	hear(b, messaging.DEAStart("*"), func(m messaging.StartMessage) { b.starts <- m })
	hear(b, messaging.DEAStop, func(m messaging.StopMessage) { b.stops <- m })
	greeted := make(chan bool, 1)
	hear(b, messaging.HealthManagerStart, func(messaging.Signal) { greeted <- true })
	require.NoError(t, b.conn.Flush())

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-ended) })
	<-greeted // it listens
	return b
}

func hear[T any](b *bus, subject messaging.Subject[T], do func(T)) {
	b.t.Helper()
	_, err := b.conn.Subscribe(string(subject), func(m *nats.Msg) {
		if v, err := subject.Decode(m.Data); assert.NoError(b.t, err) {
			do(v)
		}
	})
	require.NoError(b.t, err)
}

// stager offers to stage and claims to have done so.
func (b *bus) stager(memory int) {
	b.t.Helper()
	hear(b, messaging.StagingLocate, func(messaging.Signal) {
		assert.NoError(b.t, messaging.StagingAdvertise.Publish(b.conn, messaging.StagerAdvertisement{
			ID: "stager", Stacks: []string{}, AvailableMemory: messaging.Int(memory),
		}))
	})
	_, err := b.conn.Subscribe(string(messaging.StagingStart("stager")), func(m *nats.Msg) {
		assert.NoError(b.t, m.Respond([]byte(`{"task_id":"t","task_streaming_log_url":"http://log"}`)))
		assert.NoError(b.t, m.Respond([]byte(`{"task_id":"t","droplet_sha1":"da39a3ee5e6b4b0d3255bfef95601890afd80709"}`)))
	})
	require.NoError(b.t, err)
	require.NoError(b.t, b.conn.Flush())
}

func (b *bus) advertise(dea string) {
	b.t.Helper()
	require.NoError(b.t, messaging.DEAAdvertise.Publish(b.conn, messaging.Advertisement{
		ID: dea, Stacks: []string{}, AvailableMemory: 1024, AppIDToCount: map[string]int{},
	}))
}

func (b *bus) beat(dea string, instances ...messaging.Instance) {
	b.t.Helper()
	require.NoError(b.t, messaging.DEAHeartbeat.Publish(b.conn, messaging.Heartbeat{DEA: dea, Droplets: append([]messaging.Instance{}, instances...)}))
}

func (b *bus) goodbye(dea string) {
	b.t.Helper()
	require.NoError(b.t, messaging.DEAShutdown.Publish(b.conn, messaging.Goodbye{ID: dea}))
}

func (b *bus) eventually(what string, ok func() bool) {
	b.t.Helper()
	require.Eventually(b.t, ok, 20*time.Second, 5*time.Millisecond, what)
}

// dea waits until a DEA is shown in a state, and returns what is shown.
func (b *bus) dea(id, state string) (view controller.DEAView) {
	b.t.Helper()
	b.eventually(id+" is "+state, func() bool {
		views := b.DEAs()
		at := slices.IndexFunc(views, func(v controller.DEAView) bool { return v.ID == id })
		if at >= 0 {
			view = views[at]
		}
		return at >= 0 && view.State == state
	})
	return view
}

// event waits for an event, the first of its kind.
func (b *bus) event(kind string) controller.Event {
	b.t.Helper()
	var found controller.Event
	b.eventually(kind, func() bool {
		for _, e := range b.Events() {
			if e.Kind == kind {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

func (b *bus) count(kind string) (n int) {
	for _, e := range b.Events() {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func state(guid, version, instance string, index int, s messaging.State) messaging.Instance {
	return messaging.Instance{Droplet: messaging.Text(guid), Version: version, Instance: instance, Index: index, State: s}
}
