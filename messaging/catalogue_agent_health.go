package messaging

func agentHealthKinds() []Kind {
	return []Kind{
		tell(HMAgentHeartbeat("*"), Kind{
			Direction: NodeSends, From: "BOSH agent", To: "health monitor", Era: "always", Purpose: "an agent lives, and how its machine is",
			Note: "Once the connection is up, then every 30 s (every 60 s before 2016-09). An agent of which nothing is heard for 60 s is " +
				"timed out. Agents before 2014 send the index as text or null, ntp, and no deployment, node_id, number_of_processes.",
		}, AgentHeartbeat{
			Deployment: "cf", Job: new("router"), Index: new(0), JobState: JobRunning, NodeID: "6f1c5d8a-1d7e-4b0e-8a52-0c1f3a9b7e64",
			Processes: new(3), Vitals: AgentVitals{
				CPU: &AgentCPU{System: "1.0", User: "3.1", Wait: "0.0"},
				Disk: AgentDisks{
					Ephemeral: &AgentDisk{InodePercent: "2", Percent: "5"}, System: &AgentDisk{InodePercent: "34", Percent: "41"},
				},
				Load: []Text{"0.09", "0.04", "0.01"}, Mem: &AgentMemory{KB: "145996", Percent: "4"},
				Swap: &AgentMemory{KB: "0", Percent: "0"}, Uptime: &AgentUptime{Seconds: 5120},
			},
		}),
		tell(HMAgentAlert("*"), Kind{
			Direction: NodeSends, From: "BOSH agent", To: "health monitor", Era: "always", Purpose: "something went wrong on a machine",
			Note: "Once for each event (three times, a second apart, before 2014). Repetitions are known by the id.",
		}, AgentAlert{
			ID: "1304319946.0@localhost", Severity: 1, Title: "nats (10.0.0.21) - does not exist - restart",
			Summary: "process is not running", CreatedAt: 1304319946,
		}),
		tell(HMAgentShutdown("*"), Kind{
			Direction: NodeSends, From: "BOSH agent", To: "health monitor", Era: "always", Purpose: "an agent goes on purpose",
			Note: "When a drain for shutdown begins. Sent as null; an empty message (before 2014) means the same.",
		}, AgentShutdown{}),
	}
}
