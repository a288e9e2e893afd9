// Package shelf is what stores of downloaded things have in common: a directory that belongs to one store at a time, one
// fetch for each key however many ask for it, and references that keep a thing from being removed.
//
// It knows nothing of the things: a store puts them below Root, under names of its own.
package shelf
