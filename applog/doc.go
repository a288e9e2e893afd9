// Package applog takes the log lines of apps to where people read them.
//
//   - A [Line] goes through an [Emitter], which never blocks and never fails: what writes a log must not suffer from
//     what becomes of it. [Syslog] and [NATS] are emitters, [Tee] is several in one. Each has a Run that does the sending.
//   - A [Follower] makes lines of what an app writes: it reads the log files of an instance while they grow.
//
// The message format is that of Loggregator's syslog drains (RFC 5424, framed as RFC 6587 has it), so what reads those reads
// these. The way to Loggregator itself, dropsonde by UDP, is not spoken.
//
// # Order of ends
//
// A [Tail] is stopped after the app has ended and before its container is destroyed; then its last lines are with the
// emitter, whose Run therefore has to end last.
//
// # Secrets
//
// Lines hold what apps print, and drain URLs what people put into them. Neither reaches the log of this process: of a URL
// only scheme, host and port do.
package applog
