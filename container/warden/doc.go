// Package warden speaks Warden's protocol on both sides: [New] returns a container back end that drives a Warden server,
// and [NewServer] puts any container back end behind the protocol, so that an original DEA, or any other client of Warden,
// can use it. The messages themselves stand in package protocol.
//
// # Server
//
// A [Server] answers what the original answers, with the same texts of errors, and keeps the same order: one request of a
// connection after the other. What it does differently is safer, and on purpose:
//
//   - a frame that holds no request is answered with an error, and a stream that holds no frame is closed, where the
//     original left its client waiting;
//   - of two Creates with one handle one fails, an empty handle is refused, and handles are those of container.Spec;
//   - the exit status of a job that signal n ended is that of the back end, 128+n, and not 255;
//   - a job whose output exceeds the limit is killed, and the event is recorded however the job is watched;
//   - a Create that asks for an address gets "Could not acquire network": back ends choose addresses themselves.
//
// Whoever can connect can run programs as root where the back end can: the permissions of the socket are the only guard.
//
// # Client
//
// A [Backend] works with originals too. As the protocol has no input for processes and bounds their output, streams go
// through named pipes in a directory of this machine, which is mounted at [ExchangeDir] in each container; and what the
// protocol cannot keep, such as container.Spec.Properties, is kept in files. Server and client stand on one machine, as
// they always did: CopyIn and CopyOut name files of it.
package warden
