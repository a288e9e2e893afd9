// Package loose reads small JSON and YAML documents of peers and apps that nobody trusts, as a tree of values in the order
// in which they were written. Numbers may stand for text and text for numbers, keys may be missing; what a document may
// cost is bounded, also where YAML aliases multiply it.
package loose

import "errors"

// The bounds of a document.
const (
	MaxBytes  = 1 << 20
	maxDepth  = 64
	maxValues = 100_000 // of all kinds, each time that an alias repeats them
)

// The reasons for which a document is refused, besides bad syntax.
var (
	// ErrLimit: it is too large, too deep, or becomes so by its aliases.
	ErrLimit = errors.New("the document is too large")
	// ErrCutShort: it is JSON that ends too early, and was right so far.
	ErrCutShort = errors.New("the document is cut short")
)
