package dea_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
)

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// A seeded storm of starts, stops, updates, crashes and server restarts. Afterwards nothing is held, nobody runs, and
// nothing ended twice; newWorld's end looks at the ledger and the containers.
func TestSoak(t *testing.T) {
	before := openFiles(t)
	w := newWorld(t, func(c *dea.Config) { c.CrashReapInterval = 50 * time.Millisecond })
	random := rand.New(rand.NewPCG(1, 2))
	modes := []string{testapp.Serves, testapp.Serves, testapp.NeverListens, testapp.ExitsAtOnce}
	apps := []string{"a", "b", "c"}
	for step := range 150 {
		app := apps[random.IntN(len(apps))]
		switch random.IntN(10) {
		case 0, 1, 2, 3:
			mode := modes[random.IntN(len(modes))]
			w.start(w.startMessage(mode, func(m object) {
				m["droplet"], m["index"], m["limits"] = app, random.IntN(3), object{"mem": 16, "disk": 16, "fds": 64}
				m["health_check_timeout"] = 1
			}))
		case 4, 5:
			w.publish("dea.stop", object{"droplet": app, "indices": []int{random.IntN(3)}})
		case 6:
			w.publish("dea.update", object{"droplet": app, "uris": []string{fmt.Sprintf("r%d.example.com", random.IntN(3))}, "version": fmt.Sprint(step)})
		case 7:
			for _, i := range w.dea.Instances() {
				if s := i.Status(); s.State == messaging.Running && i.App() == app {
					_, _ = http.Get(fmt.Sprintf("http://127.0.0.1:%d/exit", s.HostPort)) // it ends without an answer
					break
				}
			}
		case 8:
			_ = w.find(object{"droplet": app, "include_stats": true, "path": "/"})
		case 9:
			if step%50 == 9 {
				w.nats.Stop()
				w.nats.Start()
				require.Eventually(t, func() bool { return w.peer.IsConnected() && w.parts.Conn.IsConnected() }, 10*time.Second, time.Millisecond)
			}
		}
		time.Sleep(time.Duration(random.IntN(10)) * time.Millisecond) // the pace of the storm
	}
	w.end()
	http.DefaultClient.CloseIdleConnections()
	w.stop, w.ended = func() {}, make(chan error, 2)
	w.ended <- nil
	require.NoError(t, w.peer.Flush())
	ends := map[string]int{}
	for len(w.heard) > 0 {
		msg := <-w.heard
		var m object
		if msg.Subject != "droplet.exited" || json.Unmarshal(msg.Data, &m) != nil {
			continue
		}
		ends[m["instance"].(string)]++
	}
	assert.NotEmpty(t, ends)
	for id, n := range ends {
		assert.Equal(t, 1, n, "instance %s ended %d times", id, n)
	}
	w.peer.Close()
	w.parts.Conn.Close()
	w.nats.Stop()
	w.store.Close()
	assert.Eventually(t, func() bool { return openFiles(t) <= before }, 10*time.Second, 10*time.Millisecond, "no descriptor is left")
}
