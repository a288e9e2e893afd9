// Package dea is the droplet execution agent as an embeddable service: it offers capacity on NATS, starts, finds,
// updates and stops instances as it is told, keeps their routes registered, tells who lives and who ended, and leaves
// in an orderly way.
//
// A [DEA] is built by [New] from a [Config] and its [Parts], starts nothing by itself, and works for as long as
// [DEA.Run] runs. One goroutine owns all of its decisions: messages, changes of instances and timers reach it one after
// the other. Instances do their work on goroutines of their own, which Run awaits.
//
// The wire is that of dea_ng, so that a Cloud Controller, a gorouter and a health manager work with it unchanged.
package dea
