package action

import (
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
)

// A shapeError is an error of encoding/json in words for whoever wrote the JSON: callers know no Go types.
type shapeError struct {
	text string
	err  error
}

func (e *shapeError) Error() string { return e.text }

func (e *shapeError) Unwrap() error { return e.err }

// inTerms says in terms of JSON what of a document has the wrong shape, also where a type has put its own words around it. It names
// members, and never what stands in them.
func inTerms(err error) error {
	text := err.Error()
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		text = strings.ReplaceAll(text, wrong.Error(), shape(wrong))
	}
	return &shapeError{strings.TrimPrefix(text, "json: "), err}
}

// shape is "env must be an object, not an array".
func shape(wrong *json.UnmarshalTypeError) string {
	given, number, _ := strings.Cut(wrong.Value, " ")
	named := map[string]string{"string": "a string", "number": "a number", "bool": "true or false", "array": "an array", "object": "an object"}[given]
	if number != "" { // of the right kind, but with a fraction or too large
		named = "this number"
	}
	return strings.TrimSpace(wrong.Field + " must be " + wanted(wrong.Type) + ", not " + named)
}

var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

// wanted is the JSON that a type is read from.
func wanted(t reflect.Type) string {
	if t.Implements(textType) || reflect.PointerTo(t).Implements(textType) {
		return "a string"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number from 0"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Map, reflect.Struct:
		return "an object"
	default:
		return "something else"
	}
}
