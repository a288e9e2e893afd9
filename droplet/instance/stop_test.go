package instance_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
)

// A stop that fails leaves the instance STOPPING and is tried again until nothing is left of it.
func TestStopThatFailsIsRetried(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	n.cfg.StopRetry = 10 * time.Millisecond
	backend := &bent{Backend: n.backend}
	i, over := n.runOn(t.Context(), backend, n.message(testapp.Serves))
	n.await(i, messaging.Running)
	backend.stops.Store(2)
	backend.destroys.Store(2)
	i.Stop()
	wait(t, over)
	assert.EqualValues(t, 4, backend.failed.Load())
	assert.Equal(t, []messaging.State{messaging.Born, messaging.Starting, messaging.Running, messaging.Stopping, messaging.Stopped}, n.states())
}

// A second stop does not wait for the pause.
func TestStopAgainRetriesAtOnce(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	n.cfg.StopRetry = time.Hour
	backend := &bent{Backend: n.backend}
	i, over := n.runOn(t.Context(), backend, n.message(testapp.Serves))
	n.await(i, messaging.Running)
	backend.stops.Store(1)
	i.Stop()
	require.Eventually(t, func() bool { return backend.failed.Load() == 1 }, patience, time.Millisecond)
	assert.Equal(t, messaging.Stopping, i.Status().State)
	i.Stop()
	wait(t, over)
	assert.Equal(t, messaging.Stopped, i.Status().State)
}

// A crash whose container cannot be destroyed does not hide it: its handle is nobody's, and the node finds it.
func TestCrashThatCannotBeTakenDown(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	n.cfg.Owner = "test"
	backend := &bent{Backend: n.backend}
	backend.destroys.Store(1)
	i, over := n.runOn(t.Context(), backend, n.message(testapp.ExitsAtOnce))
	wait(t, over)
	assert.Equal(t, messaging.Crashed, i.Status().State)
	assert.Empty(t, i.Status().Handle)
	left, err := n.backend.List(t.Context())
	require.NoError(t, err)
	require.Len(t, left, 1)
	c, err := n.backend.Lookup(t.Context(), left[0])
	require.NoError(t, err)
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "test", info.Properties["owner"])
	require.NoError(t, c.Destroy(t.Context()))
	i.Release()
}

// What cannot be destroyed keeps its handle, so that the next process finds it in the snapshot.
func TestHandleIsKeptUntilTheContainerIsGone(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	n.cfg.StopRetry = time.Hour
	backend := &bent{Backend: n.backend}
	i, over := n.runOn(t.Context(), backend, n.message(testapp.Serves))
	handle := n.await(i, messaging.Running).Handle
	backend.destroys.Store(1)
	i.Stop()
	require.Eventually(t, func() bool { return backend.failed.Load() == 1 }, patience, time.Millisecond)
	assert.Equal(t, handle, i.Status().Handle)
	i.Stop()
	wait(t, over)
	assert.Empty(t, i.Status().Handle)
}

// A measurement that hangs holds up neither a stop nor the news of a crash.
func TestMeasurementThatHangs(t *testing.T) {
	n := newNode(t, testapp.NewDroplet(t, nil))
	n.cfg.SampleInterval = time.Hour
	backend := &bent{Backend: n.backend, measures: make(chan struct{}, 2)}
	i, over := n.runOn(t.Context(), backend, n.message(testapp.Serves))
	<-backend.measures
	i.Stop()
	wait(t, over)
	assert.Equal(t, messaging.Stopped, i.Status().State)

	i, over = n.runOn(t.Context(), backend, n.message(testapp.Serves))
	s := n.await(i, messaging.Running)
	<-backend.measures
	_, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/exit", s.HostPort))
	require.Error(t, err, "the app ends before it answers")
	http.DefaultClient.CloseIdleConnections()
	wait(t, over)
	assert.Equal(t, 3, i.Status().ExitStatus)
	i.Release()
}
