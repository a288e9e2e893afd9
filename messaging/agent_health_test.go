package messaging_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/messaging"
)

func TestGoldenAgentHealth(t *testing.T) {
	golden(t, messaging.HMAgentHeartbeat("a"), messaging.AgentHeartbeat{JobState: messaging.JobUnknown},
		`{"deployment":"","job":null,"index":null,"job_state":"unknown","vitals":{"disk":{}},"node_id":"","number_of_processes":null}`)
	golden(t, messaging.HMAgentHeartbeat("a"), messaging.AgentHeartbeat{
		Deployment: "cf", Job: ptr("router"), Index: ptr(0), JobState: messaging.JobRunning, NodeID: "6f1c", Processes: ptr(3),
		Vitals: messaging.AgentVitals{
			CPU: &messaging.AgentCPU{System: "1.0", User: "3.1", Wait: "0.0"},
			Disk: messaging.AgentDisks{
				System: &messaging.AgentDisk{InodePercent: "34", Percent: "41"}, Ephemeral: &messaging.AgentDisk{InodePercent: "2", Percent: "5"},
			},
			Load: []messaging.Text{"0.09", "0.04", "0.01"}, Mem: &messaging.AgentMemory{KB: "145996", Percent: "4"},
			Swap: &messaging.AgentMemory{KB: "0", Percent: "0"}, Uptime: &messaging.AgentUptime{Seconds: 5120},
		},
		NTP: &messaging.AgentNTP{Offset: "-0.06423", Timestamp: "14 Oct 11:13:19"},
	}, `{"deployment":"cf","job":"router","index":0,"job_state":"running","vitals":{"cpu":{"sys":"1.0","user":"3.1","wait":"0.0"},`+
		`"disk":{"ephemeral":{"inode_percent":"2","percent":"5"},"system":{"inode_percent":"34","percent":"41"}},`+
		`"load":["0.09","0.04","0.01"],"mem":{"kb":"145996","percent":"4"},"swap":{"kb":"0","percent":"0"},"uptime":{"secs":5120}},`+
		`"ntp":{"offset":"-0.06423","timestamp":"14 Oct 11:13:19"},"node_id":"6f1c","number_of_processes":3}`)
	golden(t, messaging.HMAgentAlert("a"), messaging.AgentAlert{
		ID: "1304319946.0@localhost", Severity: 1, Title: "nats (10.0.0.21) - does not exist - restart",
		Summary: "process is not running", CreatedAt: 1304319946,
	}, `{"id":"1304319946.0@localhost","severity":1,"title":"nats (10.0.0.21) - does not exist - restart",`+
		`"summary":"process is not running","created_at":1304319946}`)
	golden(t, messaging.HMAgentShutdown("a"), messaging.AgentShutdown{}, `null`)
	assert.EqualValues(t, "hm.agent.heartbeat.a", messaging.HMAgentHeartbeat("a"))
	assert.EqualValues(t, "hm.agent.alert.a", messaging.HMAgentAlert("a"))
	assert.EqualValues(t, "hm.agent.shutdown.a", messaging.HMAgentShutdown("a"))
}

// What both agents send, and sent, is understood.
func TestAgentHealthOfAllEras(t *testing.T) {
	beat := messaging.HMAgentHeartbeat("a")
	era(t, "Ruby, before the first apply", beat,
		`{"job":null,"index":"","job_state":"running","vitals":{"disk":{"system":null}},"ntp":{"message":"file missing"}}`,
		messaging.AgentHeartbeat{JobState: messaging.JobRunning, NTP: &messaging.AgentNTP{Message: "file missing"}})
	era(t, "Ruby", beat, `{"job":"router","index":"3","job_state":"failing","vitals":{"load":["0.1","0.2","0.3"],"mem":{"percent":"4.5","kb":"9"},`+
		`"disk":{"persistent":{"percent":"97","inode_percent":"10"}}},"ntp":{"offset":"-0.06423","timestamp":"14 Oct 11:13:19"}}`,
		messaging.AgentHeartbeat{
			Job: ptr("router"), Index: ptr(3), JobState: messaging.JobFailing,
			Vitals: messaging.AgentVitals{
				Load: []messaging.Text{"0.1", "0.2", "0.3"}, Mem: &messaging.AgentMemory{Percent: "4.5", KB: "9"},
				Disk: messaging.AgentDisks{Persistent: &messaging.AgentDisk{Percent: "97", InodePercent: "10"}},
			},
			NTP: &messaging.AgentNTP{Offset: "-0.06423", Timestamp: "14 Oct 11:13:19"},
		})
	era(t, "Go, without an answer of monit", beat,
		`{"deployment":"","job":null,"index":null,"job_state":"unknown","vitals":{"uptime":{"secs":7}},"node_id":"","number_of_processes":null}`,
		messaging.AgentHeartbeat{JobState: messaging.JobUnknown, Vitals: messaging.AgentVitals{Uptime: &messaging.AgentUptime{Seconds: 7}}})
	for _, data := range []string{"", "null", "[]", `{"index":[]}`, `{"index":0.5}`, `{"vitals":7}`} {
		_, err := beat.Decode([]byte(data))
		require.Error(t, err, data)
	}
	for _, data := range []string{"", "null", "{}", "\x00"} {
		_, err := messaging.HMAgentShutdown("a").Decode([]byte(data))
		assert.NoError(t, err, data)
	}
	for _, data := range []string{
		`{"id":"","severity":1,"title":"t","created_at":1}`, `{"id":"i","severity":-1,"title":"t","created_at":1}`,
		`{"id":"i","title":"t","created_at":1}`, `{"id":"i","severity":1,"title":"t"}`, `{"id":"i","severity":"1","title":"t","created_at":1}`,
	} {
		_, err := messaging.HMAgentAlert("a").Decode([]byte(data))
		require.Error(t, err, data)
	}
}

// The figures of a process are numbers, and those that are 0 are left out where agents do so.
func TestAgentProcess(t *testing.T) {
	for wire, process := range map[string]messaging.AgentProcess{
		`{"name":"gorouter","state":"running","uptime":{"secs":880183},"mem":{"kb":4004,"percent":0.1},"cpu":{"total":0.3}}`: {
			Name: "gorouter", State: messaging.JobRunning, Uptime: messaging.AgentUptime{Seconds: 880183},
			Memory: messaging.AgentProcessMemory{KB: 4004, Percent: 0.1}, CPU: messaging.AgentProcessCPU{Total: 0.3},
		},
		`{"name":"a","state":"unknown","uptime":{},"mem":{"percent":0},"cpu":{"total":0}}`: {Name: "a", State: messaging.JobUnknown},
	} {
		data, err := json.Marshal(process)
		require.NoError(t, err)
		assert.Equal(t, wire, string(data))
	}
}
