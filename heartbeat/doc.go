// Package heartbeat tells who is alive and what is missing: a [Monitor] is fed with the heartbeats and exit messages of
// DEAs and compares what it knows with what somebody wants to run, as a health manager does. An [Agent] sends the heartbeats,
// alerts and the shutdown event of a BOSH agent to its health monitor, and an [AgentMonitor] is what stands there.
//
// The Monitor is data and rules only. It starts nothing, reads no clock and no network: the caller receives the
// messages, passes the time, and acts on the [Finding]s. So it can stand in a controller, in a test, or behind a page
// that shows the state of a platform.
//
// It is no scheduler: it says that an instance is missing, not where to start it. It remembers nothing beyond the life
// of the process; after a start it learns the state of the platform from the next heartbeats (see [Config.Settle]).
//
// # What a caller does
//
//   - pass each [messaging.DEAHeartbeat] to [Monitor.Heartbeat] and each [messaging.DropletExited] to [Monitor.Exited];
//   - publish [messaging.HealthManagerStart] once, so that DEAs send heartbeats at once;
//   - call [Monitor.Check] from time to time, every few seconds say, and for each finding: start what is [Missing] or
//     [Evacuating] when it is due, and say so with [Monitor.Starting]; stop what is [Extra].
//
// A finding is repeated by each Check until it has been dealt with, and a lost message is made up for by the next
// round: starting is bounded by Monitor.Starting, stopping twice is harmless.
//
// # By HTTP
//
// DEAs from 2016 on send heartbeats by HTTP instead of NATS. [Receiver] takes them and passes them to Monitor.Heartbeat, beside
// or in place of the subscription; [Poster] is the sender's side.
//
// # Agents
//
// A BOSH agent tells only that it lives, and how its machine is. [Agent] sends that over NATS, at once and at an interval, and makes
// up for a server that is away; what it sends, the agent collects (packages below agent). The messages are
// [messaging.AgentHeartbeat], [messaging.AgentAlert] and [messaging.AgentShutdown].
//
// [AgentMonitor] is the health monitor's side, what a resurrector or a dashboard stands on. As the Monitor, it is data and rules
// only: who lives, how the machines are, who is lost or rogue. [AgentReceiver] feeds it from NATS and tells of each change. What
// should be there, a director says to [AgentMonitor.Manage]; what is to be done about the lost is left to the caller, who had
// better not recreate a whole platform because a network is down.
//
// # Where it differs from HM9000
//
// An instance of an old version is extra only when the new version runs at its index, so that a change of version needs
// no gap. An evacuating instance is kept when its replacement crashes. An advertisement is no sign of life.
//
// And from the BOSH health monitor: alerts are told apart by agent and id. The silence of an agent that said good-bye is no loss
// although its heartbeats went on for a while. While the link is down nobody is lost.
package heartbeat
