package loose

import (
	"iter"
	"strconv"
)

// A Kind tells values apart.
type Kind int

// The kinds of value.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Map
)

// A Value is a part of a document; the zero Value is null, and also stands for what is missing.
type Value struct {
	kind Kind
	text string // of a scalar, as it was written
	keys []string
	vals []Value // of a list, or behind keys
}

// Kind returns the kind.
func (v Value) Kind() Kind { return v.kind }

// Get returns what a map holds under a key, else null.
func (v Value) Get(key string) Value {
	for i, k := range v.keys {
		if k == key {
			return v.vals[i]
		}
	}
	return Value{}
}

// Has tells whether a map holds a key, with null or with something.
func (v Value) Has(key string) bool {
	for _, k := range v.keys {
		if k == key {
			return true
		}
	}
	return false
}

// Pairs are the entries of a map in their order. Of equal keys there is the last value, in the place of the first.
func (v Value) Pairs() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for i, k := range v.keys {
			if !yield(k, v.vals[i]) {
				return
			}
		}
	}
}

// Items are the elements of a list; nil for other kinds.
func (v Value) Items() []Value {
	if v.kind != List {
		return nil
	}
	return v.vals
}

// Text returns a scalar as text: a number as it was written, a bool as "true" or "false"; "" for all else.
func (v Value) Text() string { return v.text }

// Int returns a number, or text that is one.
func (v Value) Int() (int, bool) {
	if v.kind != Number && v.kind != String {
		return 0, false
	}
	n, err := strconv.Atoi(v.text)
	return n, err == nil
}

// IsFalse tells whether it is the bool false.
func (v Value) IsFalse() bool { return v.kind == Bool && v.text == "false" }

// IsTrue tells whether it is the bool true.
func (v Value) IsTrue() bool { return v.kind == Bool && v.text == "true" }

// set puts a value under a key.
func (v *Value) set(key string, value Value) {
	for i, k := range v.keys {
		if k == key {
			v.vals[i] = value
			return
		}
	}
	v.keys, v.vals = append(v.keys, key), append(v.vals, value)
}
