// Package controller is a small controller for the reference platform, what the Cloud Controller is to a large one: it
// keeps what people want to run, has source staged, places instances on DEAs by their advertisements, replaces what
// heartbeats and droplet.exited show missing, and offers an HTTP API.
//
// It speaks to stagers and DEAs over NATS only, with the messages of Cloud Foundry v2, and could as well speak to the
// originals. It keeps nothing across restarts.
package controller
