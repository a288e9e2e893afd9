// Package protodoc writes the documents of the protocol, docs/protocol.md and docs/asyncapi.yaml, from the catalogue of
// package messaging, the types of its examples, and the comments in its source. Its test keeps them current; renew them with
//
//	go test ./messaging/internal/protodoc -update
package protodoc
