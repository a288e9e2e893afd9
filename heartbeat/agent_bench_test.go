package heartbeat_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/heartbeat"
	"github.com/deakit/deakit/messaging"
)

// BenchmarkAgentHeartbeat is what a heartbeat of one agent among ten thousand costs whoever hears it: reading it, and taking it into
// account. The yardstick is encoding/json alone, into a map.
func BenchmarkAgentHeartbeat(b *testing.B) {
	const wire = `{"deployment":"cf","job":"router","index":0,"job_state":"running","vitals":{"cpu":{"sys":"1.0","user":"3.1",` +
		`"wait":"0.0"},"disk":{"system":{"inode_percent":"34","percent":"41"},"ephemeral":{"inode_percent":"2","percent":"5"}},` +
		`"load":["0.09","0.04","0.01"],"mem":{"kb":"145996","percent":"4"},"swap":{"kb":"0","percent":"0"},"uptime":{"secs":5120}},` +
		`"node_id":"6f1c5d8a-1d7e-4b0e-8a52-0c1f3a9b7e64","number_of_processes":3}`
	b.Run("ours", func(b *testing.B) {
		monitor, now := heartbeat.NewAgentMonitor(heartbeat.AgentMonitorConfig{}), time.Now()
		ids := make([]string, 10_000)
		for i := range ids {
			ids[i] = fmt.Sprintf("6f1c5d8a-1d7e-4b0e-8a52-0c1f3a9b%04x", i)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			beat, err := messaging.HMAgentHeartbeat("*").Decode([]byte(wire))
			require.NoError(b, err)
			_, err = monitor.Heartbeat(ids[i%len(ids)], beat, now)
			require.NoError(b, err)
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var beat map[string]any
			require.NoError(b, json.Unmarshal([]byte(wire), &beat))
		}
	})
}

// BenchmarkAgentCheck looks for the lost among ten thousand agents.
func BenchmarkAgentCheck(b *testing.B) {
	monitor, now := heartbeat.NewAgentMonitor(heartbeat.AgentMonitorConfig{}), time.Now()
	for i := range 10_000 {
		_, err := monitor.Heartbeat(fmt.Sprint(i), messaging.AgentHeartbeat{}, now)
		require.NoError(b, err)
	}
	for b.Loop() {
		require.Empty(b, monitor.Check(now))
	}
}
