// Package deakit is a library of composable parts for building a platform node, with thin reference binaries in
// examples/ that wire the parts into working systems. The parts speak the wire protocols of Cloud Foundry v2 and BOSH.
//
// # Map
//
// Ground, importable for itself:
//
//   - [github.com/deakit/deakit/messaging]: protocol types, subjects, codec and connection for NATS
//   - [github.com/deakit/deakit/container]: Backend, Container, Process, and back ends below it
//   - [github.com/deakit/deakit/droplet]: the droplet archive and a store of droplets by digest
//   - [github.com/deakit/deakit/droplet/oci]: droplets as container images, and back
//   - [github.com/deakit/deakit/logging]: log lines as Steno writes them, from log/slog
//   - [github.com/deakit/deakit/applog]: the lines of apps on their way to syslog drains or NATS
//
// Engines:
//
//   - [github.com/deakit/deakit/staging]: source to droplet with buildpacks, in any container
//   - [github.com/deakit/deakit/staging/buildpack]: kinds of buildpack, and where their files come from
//   - [github.com/deakit/deakit/staging/framework]: apps as they were staged before there were buildpacks
//   - [github.com/deakit/deakit/staging/lifecycle]: builder, launcher and shell of buildpackapplifecycle as functions
//   - [github.com/deakit/deakit/droplet/instance]: one running copy of a droplet and its life
//   - [github.com/deakit/deakit/directory]: files of instances by signed URL
//   - [github.com/deakit/deakit/heartbeat]: who is alive, and what is missing
//   - [github.com/deakit/deakit/component]: the status endpoint that every process has: health, figures, discovery
//
// Services, each built from a config and its collaborators, with one Run(ctx) error:
//
//   - [github.com/deakit/deakit/droplet/dea]: the droplet execution agent
//   - [github.com/deakit/deakit/droplet/dea/config]: its configuration file, that of dea_ng
//   - [github.com/deakit/deakit/staging/stager]: the stager
//   - [github.com/deakit/deakit/agent]: the BOSH agent: requests, methods, tasks; its parts are packages below it
//   - [github.com/deakit/deakit/agent/node]: a whole agent, put together
//   - [github.com/deakit/deakit/agent/client]: a client of agents of any age
//
// Imports run downwards only: examples, services, engines, ground.
package deakit
