// Package messaging holds the messages that the parts of a platform exchange over NATS: their types, the subjects
// that carry them, a codec that checks them, and a connection that behaves.
//
// The wire is that of Cloud Foundry v2 (dea_ng, Cloud Controller, gorouter, HM9000, 2013 to 2017). What is sent is
// strict: integers where a peer decodes integers, no key with a wrong type. What is received is accepted in every
// form that peers are known to send: numbers for strings, floats for integers, null for absent, unknown keys.
//
// A [Subject] ties a name to the type of its messages, a [Query] also to the type of the answers:
//
//	err := messaging.DEAAdvertise.Publish(conn, messaging.Advertisement{...})
//	ad, err := messaging.DEAAdvertise.Decode(data)
//
// [Connect] gives a connection that comes back for ever and never replays stale publications, [Inbox] receives
// several subjects in the order in which the server sent them, [Outbox] keeps the few messages that must not be lost
// while the server is away. The types can be used without any of these.
//
// [Kinds] is the catalogue of all subjects, with an example of every message. The documents docs/protocol.md and
// docs/asyncapi.yaml are written from it; go generate renews them.
package messaging

//go:generate go test ./internal/protodoc -update
