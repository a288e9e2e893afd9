// Package component is what every process of a platform shares (vcap-common's Component): a small HTTP endpoint that shows
// how the process is, and a record of itself on NATS by which collectors find that endpoint.
//
// A [Component] is built by [New] from a [Config], which says what the process is and where its own figures come from:
//
//	GET /healthz   "ok": the process answers
//	GET /varz      figures of the process, of its machine and of the part that it runs, as JSON (collectors)
//	GET /metrics   the same in the text format of Prometheus, version 0.0.4
//
// All three want basic authentication. [Component.Run] opens the endpoint, announces it on vcap.component.announce, and
// answers vcap.component.discover until its context ends. [Component.Handler] is the endpoint alone, for a server of one's
// own. [LogCounts] and [WriteMetrics] are of use by themselves.
//
// # What it gives away
//
// The user and the password of the endpoint stand in the record and in /varz, as collectors of the time expect. Whoever can
// subscribe on NATS can therefore read the figures. Nothing that must not be known there belongs into Config.Varz.
package component
