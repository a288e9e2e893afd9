// Package tap shows what goes over the bus: every message on one line, decoded by its type, with secrets masked.
//
// It only listens. It checks messages as a receiver would and flags those that a receiver would refuse; it doesn't
// store, replay or answer anything.
package tap
