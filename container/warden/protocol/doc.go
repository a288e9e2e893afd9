// Package protocol is Warden's wire protocol: its messages, and the frames that carry them over a stream.
//
// The messages are generated from warden.proto. A frame is the length of its payload in decimal, CR LF, the payload, and
// CR LF again; the payload is a [Message] that wraps a request or a response. There are no request numbers: a server
// answers the requests of a connection one after the other, each with one response, and [StreamRequest] with any number
// of them, of which the last one carries exit_status.
//
// [Reader] and [Write] serve both sides. Whoever needs containers rather than messages takes package warden.
package protocol

//go:generate sh generate.sh
