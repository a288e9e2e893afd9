package dea_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
)

// routed returns what a router would know after these messages.
func routed(t *testing.T, heard []*nats.Msg) []string {
	t.Helper()
	known := []string{}
	for _, msg := range heard {
		var route struct{ URIs []string }
		if msg.Subject != "router.register" && msg.Subject != "router.unregister" {
			continue
		}
		require.NoError(t, json.Unmarshal(msg.Data, &route))
		for _, uri := range route.URIs {
			kept := known[:0:0]
			for _, k := range known {
				if k != uri {
					kept = append(kept, k)
				}
			}
			if known = kept; msg.Subject == "router.register" {
				known = append(known, uri)
			}
		}
	}
	return known
}

// An update may overtake the news that an instance runs. The routes that it took away must not come back with them.
func TestUpdateThatOvertakesTheNews(t *testing.T) {
	w := newSurroundings(t)
	cfg, parts := newParts(t, w.nats.URL(), w.baseDir)
	defer parts.Conn.Close()
	defer func() {
		require.NoError(t, parts.Backend.(*process.Backend).Close(context.Background()))
		require.NoError(t, parts.Droplets.Close())
	}()
	d, err := dea.New(cfg, parts)
	require.NoError(t, err)
	data, err := json.Marshal(w.startMessage(testapp.Serves, nil))
	require.NoError(t, err)
	start, err := messaging.DEAStart(d.ID()).Decode(data)
	require.NoError(t, err)
	life, end := context.WithCancel(t.Context())
	defer end()
	d.Begin(life, start)
	i := d.Instances()[0]
	require.Eventually(t, func() bool { return i.Status().State == messaging.Running }, patience, time.Millisecond)

	d.Update(messaging.UpdateMessage{Droplet: "app-guid", URIs: &[]string{"new.example.com"}})
	d.Work()
	heard := func() (all []*nats.Msg) {
		require.NoError(t, parts.Conn.Flush())
		require.NoError(t, w.peer.Flush())
		for len(w.heard) > 0 {
			all = append(all, <-w.heard)
		}
		return all
	}
	first := heard()
	assert.Equal(t, []string{"new.example.com"}, routed(t, first))
	i.Stop()
	d.Wait()
	d.Work()
	assert.Empty(t, routed(t, append(first, heard()...)))
}

// A router that answers when the DEA is on its way out gets no routes any more.
func TestNoRoutesAfterGoodbye(t *testing.T) {
	w := newSurroundings(t)
	w.app = testapp.PackDroplet(t, map[string]string{"startup": "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n"})
	w.run(nil)
	w.start(w.startMessage("", func(m object) { m["uris"] = nil }))
	w.running()
	w.stop()
	w.await("router.unregister", nil) // of the directory server; the app does not listen, and holds the DEA up
	w.dea.RouterSays(messaging.RouterHello{MinimumRegisterInterval: 1})
	require.NoError(t, <-w.ended)
	w.ended <- nil
	require.NoError(t, w.parts.Conn.Flush())
	require.NoError(t, w.peer.Flush())
	for len(w.heard) > 0 {
		assert.NotEqual(t, "router.register", (<-w.heard).Subject)
	}
}
