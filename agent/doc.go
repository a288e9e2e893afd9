// Package agent is the BOSH agent as an embeddable service: it does on its machine what a director or a command line tells
// it, over NATS or HTTPS, in the protocol of bosh_agent (2009 to 2014) and bosh-agent (since).
//
// An [Agent] is built by [New] from a [Config], starts nothing by itself, and works for as long as [Agent.Run] runs. It
// knows the methods that need no machine (ping, noop, info, get_task, cancel_task). All others are in Config.Methods: those
// of package agent/methods for a machine of BOSH (apply, mount_disk, ssh and so on), and one's own, for any Go function can
// be one:
//
//	a, err := agent.New(agent.Config{
//		ID:         "3c7c4a2e-9c8e-4a67-9d0a-2f3bb2f9d001",
//		Transports: []transport.Transport{bus},
//		Methods:    []action.Method{{Name: "restart_worker", Do: worker.Restart, Async: true}},
//	})
//
// The parts stand alone too: agent/action reads arguments, agent/task runs what takes long, agent/transport carries
// requests, agent/client sends them.
package agent
