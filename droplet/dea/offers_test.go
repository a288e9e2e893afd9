package dea_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
)

// offer asks for an advertisement and returns it.
func (w *world) offer(payload string) object {
	w.t.Helper()
	w.publish("dea.locate", payload)
	return w.await("dea.advertise", nil)
}

func TestOffersOnRequest(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.AdvertiseInterval = time.Hour })
	w.quiet()
	for _, payload := range []string{"", "{}", "null", `"x"`, "not json"} {
		assert.Equal(t, w.dea.ID(), w.offer(payload)["id"])
	}
	assert.Empty(t, w.quiet(), "one answer for each request")
}

func TestOfferAtOnceAndPeriodically(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.AdvertiseInterval = 30 * time.Millisecond })
	for range 3 {
		w.await("dea.advertise", nil)
	}
}

// SIGUSR1 of dea_ng: out of all placements, and everything else goes on.
func TestStopAdvertising(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.AdvertiseInterval = 20 * time.Millisecond })
	w.start(w.startMessage(testapp.Serves, nil))
	w.running()
	for range 2 { // each says good-bye
		w.dea.StopAdvertising()
		bye := w.await("dea.shutdown", nil)
		assert.Equal(t, w.dea.ID(), bye["id"])
		assert.Equal(t, object{"app-guid": 1.0}, bye["app_id_to_count"])
	}
	w.publish("dea.locate", "")
	w.publish("healthmanager.start", "")
	for subject := ""; subject != "dea.heartbeat"; { // what was asked for later is answered, the offer is not
		subject = (<-w.heard).Subject
		assert.NotEqual(t, "dea.advertise", subject)
	}
	assert.Equal(t, messaging.Running, w.dea.Instances()[0].Status().State)
	w.start(w.startMessage(testapp.Serves, func(m object) { m["index"] = 1 }))
	w.await("dea.heartbeat", func(m object) bool { return len(m["droplets"].([]any)) == 2 })
}

// What is offered is the capacity without instances and without what a stager has reserved.
func TestOfferIsWhatIsLeft(t *testing.T) {
	w := newWorld(t, nil)
	staging, err := w.parts.Ledger.Reserve(resources.Amount{MemoryBytes: 100 << 20, DiskBytes: 200 << 20})
	require.NoError(t, err)
	w.start(w.startMessage(testapp.NeverListens, nil)) // STARTING
	w.start(w.startMessage(testapp.Serves, func(m object) { m["index"] = 1 }))
	w.running()
	offer := w.offer("")
	assert.Equal(t, 1024.0-64-64-100, offer["available_memory"])
	assert.Equal(t, 4096.0-128-128-200, offer["available_disk"])
	staging.Release()
	assert.Equal(t, 1024.0-64-64, w.offer("")["available_memory"])
}

func TestSameIndexTwice(t *testing.T) {
	w := newWorld(t, nil)
	var ids, privates []any
	for range 2 {
		w.start(w.startMessage(testapp.Serves, nil))
		route := w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
		privates = append(privates, route["private_instance_id"])
	}
	w.await("dea.heartbeat", func(m object) bool { return len(m["droplets"].([]any)) == 2 })
	for _, found := range w.find(object{"droplet": "app-guid"}) {
		ids = append(ids, found["instance"])
		assert.Equal(t, 0.0, found["index"])
	}
	require.Len(t, ids, 2)
	assert.NotEqual(t, ids[0], ids[1])
	assert.NotEqual(t, privates[0], privates[1])
}

func TestFindAnswersMatchesOnly(t *testing.T) {
	w := newWorld(t, nil)
	w.start(w.startMessage(testapp.NeverListens, nil))
	w.start(w.startMessage(testapp.Serves, func(m object) { m["index"] = 1 }))
	w.running()
	assert.Empty(t, w.find(object{"droplet": "other"}))
	assert.Len(t, w.find(object{"droplet": "app-guid"}), 2)
	starting := w.find(object{"droplet": "app-guid", "states": []string{"starting"}, "include_stats": true, "path": "/"})
	require.Len(t, starting, 1)
	assert.NotContains(t, starting[0], "stats", "only of running instances")
	assert.Contains(t, starting[0], "file_uri_v2")
	plain := w.find(object{"droplet": "app-guid", "indices": []int{1}})
	require.Len(t, plain, 1)
	assert.NotContains(t, plain[0], "stats")
	assert.NotContains(t, plain[0], "file_uri_v2")
}

func TestHeartbeats(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.HeartbeatInterval = time.Hour })
	w.publish("healthmanager.start", "")
	assert.Equal(t, object{"dea": w.dea.ID(), "droplets": []any{}}, w.await("dea.heartbeat", nil), "sent when empty, too")
	w.start(w.startMessage(testapp.Serves, nil))
	beat := w.running()
	stamp := beat["state_timestamp"].(float64)
	assert.InDelta(t, float64(time.Now().Unix()), stamp, 60)
	assert.Equal(t, 0.0, beat["index"])
}

func TestRoutesAreRepeated(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.RegisterInterval = time.Hour })
	w.publish("router.start", "")
	files := w.await("router.register", nil)
	assert.Equal(t, []any{"0123.example.com"}, files["uris"])
	assert.Equal(t, object{"component": "directory-server-7"}, files["tags"])
	assert.Equal(t, 34567.0, files["port"])
	w.start(w.startMessage(testapp.Serves, nil))
	w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	w.publish("router.start", object{"id": "r", "hosts": []string{"127.0.0.1"}})
	w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	w.await("router.register", func(m object) bool { return m["uris"].([]any)[0] == "0123.example.com" })
	w.publish("router.start", `{"minimumRegisterIntervalInSeconds":20211507185753197}`) // times a second, it overflows to 512 ns
	w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	assert.Zero(t, len(routes(w.quiet())))
	w.publish("router.start", object{"minimumRegisterIntervalInSeconds": 1})
	for range 3 { // at once, and then every second instead of every hour
		w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	}
}

func TestDamagedDropletIsFetchedAgain(t *testing.T) {
	w := newWorld(t, nil)
	w.start(w.startMessage(testapp.Serves, nil))
	w.running()
	w.publish("dea.stop", object{"droplet": "app-guid"})
	require.Eventually(t, func() bool { return len(w.dea.Instances()) == 0 }, patience, 5*time.Millisecond)
	w.start(w.startMessage(testapp.Serves, nil))
	w.running()
	assert.EqualValues(t, 1, w.served.Load(), "a good file is not fetched again")
	w.publish("dea.stop", object{"droplet": "app-guid"})
	require.Eventually(t, func() bool { return len(w.dea.Instances()) == 0 }, patience, 5*time.Millisecond)
	file := filepath.Join(w.baseDir, "droplets", w.app.SHA1, "droplet.tgz")
	require.NoError(t, os.Truncate(file, 100))
	w.start(w.startMessage(testapp.Serves, nil))
	w.running()
	assert.EqualValues(t, 2, w.served.Load())
}

// routes picks the registrations of the app out of what was heard.
func routes(heard []*nats.Msg) []*nats.Msg {
	return slices.DeleteFunc(heard, func(m *nats.Msg) bool {
		return m.Subject != "router.register" || !strings.Contains(string(m.Data), "app-guid")
	})
}
