// Package stager is the stager of a platform as an embeddable service: it takes requests on NATS, downloads the app, has
// it staged in a container, uploads the droplet and answers (dea_ng).
//
// [New] takes a [Config] and the [Parts] that it works with, [Stager.Run] does the work until its context ends. A stager
// stands beside a DEA, with which it shares the ledger and the droplets, or alone. How staging itself is done is
// the matter of package staging.
//
// # Who starts instance 0
//
// A Cloud Controller of this protocol sends a start message with the request and takes a droplet_sha1 in the answer for the
// promise that the stager starts instance 0 from it. A stager with Parts.Start keeps that promise. One without
// answers such a request with a null droplet_sha1, so that the Cloud Controller starts all instances itself.
//
// # Before there were buildpacks
//
// [Queue] is the stager of 2011 to 2013 (vcap_stager): it takes requests from queues, has a plugin of package
// staging/framework make the droplet, and answers each request once. It needs neither ledger nor stores.
package stager
