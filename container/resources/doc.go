// Package resources keeps the books of a node: how much memory and disk it has to give, and who holds what of it. Work
// reserves from a [Ledger] before it makes a container, and releases when the container is gone.
//
// A reservation is what was promised, container.Usage what is used, container.Limits what a back end holds to: a Ledger does
// not measure anything, and nothing here enforces. A [Sampler] measures what the containers of a node use.
package resources
