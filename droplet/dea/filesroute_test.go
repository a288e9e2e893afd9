package dea_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/testapp"
)

// The route of the directory server, as dea_ng writes it. It is not one of an app: there are no other keys.
const filesRoute = `{"host":"127.0.0.1","port":34567,"uris":["0123.example.com"],"tags":{"component":"directory-server-7"}}`

// awaitFiles waits for the directory server's route on a subject.
func (w *world) awaitFiles(subject string) {
	w.t.Helper()
	m := w.await(subject, func(m object) bool { return m["app"] == nil })
	data, err := json.Marshal(m)
	require.NoError(w.t, err)
	assert.JSONEq(w.t, filesRoute, string(data))
}

// The directory server is registered at the start, from time to time, and when a router starts; withdrawn at the end, but
// not before: an evacuating DEA still shows its files.
func TestRouteOfTheDirectoryServer(t *testing.T) {
	w := newSurroundings(t)
	w.run(func(c *dea.Config) { c.RegisterInterval = time.Hour })
	w.start(w.startMessage(testapp.Serves, nil))
	w.running()
	for range 2 {
		w.publish("router.start", `{"id":"router-1","minimumRegisterIntervalInSeconds":5}`)
		w.awaitFiles("router.register")
	}
	w.dea.Evacuate()
	w.await("dea.shutdown", nil)
	w.publish("router.start", "")
	w.awaitFiles("router.register")
	answer, err := w.peer.Request("dea.find.droplet", []byte(`{"droplet":"app-guid","path":"/logs/stdout.log"}`), 20*time.Second)
	require.NoError(t, err)
	var found object
	require.NoError(t, json.Unmarshal(answer.Data, &found))
	assert.Equal(t, "EVACUATING", found["state"])
	assert.Contains(t, found["file_uri_v2"], "http://0123.example.com/instance_paths/")
	for len(w.heard) > 0 {
		assert.NotEqual(t, "router.unregister", (<-w.heard).Subject, "not at evacuation")
	}
	w.publish("dea.stop", object{"droplet": "app-guid"})
	w.awaitFiles("router.unregister")
	require.NoError(t, <-w.ended)
	w.ended <- nil
}

// At the start the route is told without anybody asking, and then again and again.
func TestRouteOfTheDirectoryServerIsRepeated(t *testing.T) {
	w := newSurroundings(t)
	w.run(func(c *dea.Config) { c.RegisterInterval = 50 * time.Millisecond })
	for range 3 { // the start, and two intervals
		w.awaitFiles("router.register")
	}
}

// Nothing is registered, and no URL is made, where the DEA is told to leave that to others.
func TestNoRouteOfTheDirectoryServer(t *testing.T) {
	w := newSurroundings(t)
	w.run(func(c *dea.Config) { c.FilesHost, c.FilesURL = "", "https://files.example.com" })
	w.start(w.startMessage(testapp.Serves, nil))
	w.running()
	w.publish("router.start", "")
	w.await("router.register", func(m object) bool { return m["app"] == "app-guid" })
	found := w.find(object{"droplet": "app-guid", "path": "a"})
	require.Len(t, found, 1)
	assert.Contains(t, found[0]["file_uri_v2"], "https://files.example.com/instance_paths/")
	found = w.find(object{"droplet": "app-guid"})
	require.Len(t, found, 1)
	assert.NotContains(t, found[0], "file_uri_v2", "nobody asked for a path")
	w.stop()
	require.NoError(t, <-w.ended)
	w.ended <- nil
	require.NoError(t, w.peer.Flush())
	for len(w.heard) > 0 {
		var m object
		if msg := <-w.heard; slices.Contains([]string{"router.register", "router.unregister"}, msg.Subject) {
			require.NoError(t, json.Unmarshal(msg.Data, &m))
			assert.Equal(t, "app-guid", m["app"])
		}
	}
}
