package dea_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/internal/testapp"
	"github.com/deakit/deakit/messaging"
)

// sleeper is a droplet whose app does nothing, so that many of them can run.
func sleeper(t testing.TB) testapp.Droplet {
	return testapp.PackDroplet(t, map[string]string{"startup": "#!/bin/sh\nexec sleep 3600\n"})
}

const sleeperMB = 16 // memory limit

// ledgerFor has room for n sleepers.
func ledgerFor(n int64) *resources.Ledger {
	return resources.NewLedger(resources.Capacity{MemoryBytes: n * sleeperMB << 20, DiskBytes: 1 << 40})
}

// A thousand starts at once: each becomes RUNNING or is refused for a reason that is told; a stop ends them all.
func TestThousandStartsAtOnce(t *testing.T) {
	const starts, room = 1000, 900
	w := newSurroundings(t)
	w.app = sleeper(t)
	w.alter = func(p *dea.Parts) { p.Ledger = ledgerFor(room) }
	w.run(func(c *dea.Config) { c.Instance.SampleInterval = time.Minute })
	for index := range starts {
		w.start(w.startMessage("", func(m object) {
			m["index"], m["uris"], m["limits"] = index, nil, object{"mem": sleeperMB, "disk": 1, "fds": 64}
		}))
	}
	running, refused := map[float64]bool{}, 0
	for deadline := time.After(5 * time.Minute); len(running)+refused < starts; {
		select {
		case msg := <-w.heard:
			var m object
			switch require.NoError(t, json.Unmarshal(msg.Data, &m), msg.Subject); msg.Subject {
			case "droplet.exited":
				refused++
				require.Equal(t, "Not enough memory resource available.", m["exit_description"], m)
			case "dea.heartbeat":
				for _, d := range m["droplets"].([]any) {
					if d := d.(object); d["state"] == "RUNNING" {
						running[d["index"].(float64)] = true
					}
				}
			}
		case <-deadline:
			t.Fatalf("%d running, %d refused", len(running), refused)
		}
	}
	assert.Len(t, running, room)
	w.publish("dea.stop", object{"droplet": "app-guid"})
	require.Eventually(t, func() bool { return len(w.dea.Instances()) == 0 }, patience, 20*time.Millisecond)
}

// The processor time of an app that spins is that of about one core, in parts of a core.
func TestProcessorTimeOfABusyApp(t *testing.T) {
	w := newWorld(t, func(c *dea.Config) { c.Instance.SampleInterval = 200 * time.Millisecond })
	w.start(w.startMessage(testapp.Spins, func(m object) { m["uris"] = nil }))
	w.running()
	var usage object
	require.Eventually(t, func() bool {
		found := w.find(object{"droplet": "app-guid", "include_stats": true})
		require.Len(t, found, 1)
		usage = found[0]["stats"].(object)["usage"].(object)
		return usage["cpu"].(float64) > 0.3 // the other cores, and this one, have more to do
	}, patience, 50*time.Millisecond)
	assert.Less(t, usage["cpu"].(float64), 1.5)
	assert.Greater(t, usage["mem"].(float64), float64(256<<10), "bytes")
	assert.Less(t, usage["mem"].(float64), float64(64<<20))
}

// full is a world with n running instances, for benchmarks.
func full(b *testing.B, n int) *world {
	w := newSurroundings(b)
	w.app = sleeper(b)
	w.alter = func(p *dea.Parts) { p.Ledger = ledgerFor(int64(n)) }
	w.run(func(c *dea.Config) {
		c.Instance.SampleInterval, c.HeartbeatInterval, c.RegisterInterval = time.Hour, time.Hour, time.Hour
	})
	for index := range n {
		w.start(w.startMessage("", func(m object) {
			m["index"], m["uris"], m["limits"] = index, nil, object{"mem": sleeperMB, "disk": 1, "fds": 64}
		}))
	}
	require.Eventually(b, func() bool {
		running := 0
		for _, i := range w.dea.Instances() {
			if i.Status().State == messaging.Running {
				running++
			}
		}
		return running == n
	}, 5*time.Minute, 20*time.Millisecond)
	w.quiet()
	return w
}

func BenchmarkHeartbeatOf1000Instances(b *testing.B) {
	w := full(b, 1000)
	for b.Loop() {
		w.publish("healthmanager.start", "")
		for msg := range w.heard {
			if msg.Subject == "dea.heartbeat" {
				b.SetBytes(int64(len(msg.Data)))
				break
			}
		}
	}
}

func BenchmarkFindWithStats(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := full(b, n)
			inbox := w.peer.NewInbox()
			for b.Loop() {
				require.NoError(b, w.peer.PublishRequest("dea.find.droplet", inbox, []byte(`{"droplet":"app-guid","states":["RUNNING"],"include_stats":true,"path":"/"}`)))
				for answers := 0; answers < n; {
					if msg := <-w.heard; msg.Subject == inbox {
						answers++
					}
				}
			}
		})
	}
}
