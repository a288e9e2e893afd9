package dea_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
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

// A seeded storm of starts, stops, updates, crashes and server restarts. Afterwards nothing is held, nobody runs, and every
// instance has had exactly one end; newWorld's end looks at the ledger and the containers.
func TestSoak(t *testing.T) {
	before := openFiles(t)
	w := newWorld(t, func(c *dea.Config) { c.CrashReapInterval = 50 * time.Millisecond })
	heard := make(chan *nats.Msg, 100000)
	_, err := w.peer.ChanSubscribe(">", heard)
	require.NoError(t, err)
	storm := &storm{world: w, random: rand.New(rand.NewPCG(1, 2))}
	for n := range 300 {
		storm.step(n)
		time.Sleep(time.Duration(storm.random.IntN(10)) * time.Millisecond) // the pace of the storm
	}
	w.crash() // at least one is told
	w.end()
	http.DefaultClient.CloseIdleConnections()
	w.stop, w.ended = func() {}, make(chan error, 2)
	w.ended <- nil
	require.NoError(t, w.peer.Flush())
	assert.Equal(t, 2, storm.restarts)
	checkEnds(t, heard)
	w.peer.Close()
	w.parts.Conn.Close()
	w.nats.Stop()
	w.store.Close()
	assert.Eventually(t, func() bool { return openFiles(t) <= before }, patience, 10*time.Millisecond, "no descriptor is left")
}

// A storm sends one thing after the other to a DEA.
type storm struct {
	*world
	random   *rand.Rand
	restarts int
}

func (s *storm) step(n int) {
	app := []string{"a", "b", "c"}[s.random.IntN(3)]
	if n%150 == 149 {
		s.nats.Stop()
		s.nats.Start()
		s.restarts++
		for _, conn := range []*nats.Conn{s.peer, s.parts.Conn} { // which may not have noticed yet that the server was gone
			require.Eventually(s.t, func() bool { return conn.Stats().Reconnects == uint64(s.restarts) && conn.IsConnected() }, patience, time.Millisecond)
		}
	}
	switch s.random.IntN(9) {
	case 0, 1, 2, 3:
		modes := []string{testapp.Serves, testapp.Serves, testapp.NeverListens, testapp.ExitsAtOnce}
		s.start(s.startMessage(modes[s.random.IntN(len(modes))], func(m object) {
			m["droplet"], m["index"], m["limits"] = app, s.random.IntN(3), object{"mem": 16, "disk": 16, "fds": 64}
			m["health_check_timeout"] = 1
		}))
	case 4, 5:
		s.publish("dea.stop", object{"droplet": app, "indices": []int{s.random.IntN(3)}})
	case 6:
		s.publish("dea.update", object{"droplet": app, "uris": []string{fmt.Sprintf("r%d.example.com", s.random.IntN(3))}, "version": fmt.Sprint(n)})
	case 7:
		for _, i := range s.dea.Instances() {
			if status := i.Status(); status.State == messaging.Running && i.App() == app {
				_, _ = http.Get(fmt.Sprintf("http://127.0.0.1:%d/exit", status.HostPort)) // it ends without an answer
				break
			}
		}
	case 8:
		_ = s.find(object{"droplet": app, "include_stats": true, "path": "/"})
	}
}

// checkEnds goes through all that was heard: who has ended is CRASHED for ever, and was told once; at the end nobody else
// is there.
func checkEnds(t *testing.T, heard chan *nats.Msg) {
	t.Helper()
	ends, last := map[string]int{}, []any{}
	for len(heard) > 0 {
		msg := <-heard
		var m object
		if json.Unmarshal(msg.Data, &m) != nil {
			continue
		}
		switch msg.Subject {
		case "droplet.exited":
			ends[m["instance"].(string)]++
		case "dea.heartbeat":
			last = m["droplets"].([]any)
			for _, d := range last {
				d := d.(object)
				if id := d["instance"].(string); ends[id] > 0 {
					assert.Equal(t, "CRASHED", d["state"], "instance %s lives after its end", id)
				}
			}
		}
	}
	assert.NotEmpty(t, ends)
	for id, n := range ends {
		assert.Equal(t, 1, n, "instance %s ended %d times", id, n)
	}
	for _, d := range last {
		assert.Equal(t, "CRASHED", d.(object)["state"], "the last heartbeat")
	}
}
