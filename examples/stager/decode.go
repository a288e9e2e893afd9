package main

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"
)

// A decoder puts YAML into a configuration, and goes on after a mistake. The YAML library's own decoding tells of Go's types where
// people look for their keys, and knows no line of a figure that is out of range.
type decoder struct {
	lines  map[string]int // of keys, by their path: "deakit.backend"
	strict string         // the path below which all keys must be known
	errs   []error
	depth  int // of maps, and of what refers to others
}

const maxDepth = 20

// decode fills the struct that into points to, whose fields have yaml tags, and returns the lines of keys. Keys without a value are
// absent; those that are not known are passed over, but for those below strict. What is wrong is a checkError, unless it is no YAML.
func decode(data []byte, into any, strict string) (map[string]int, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, err
	}
	d := &decoder{lines: map[string]int{}, strict: strict}
	for _, root := range document.Content { // one, or none in an empty file
		d.value("", root, reflect.ValueOf(into).Elem())
	}
	if len(d.errs) > 0 {
		return nil, &checkError{errors.Join(d.errs...)}
	}
	return d.lines, nil
}

func (d *decoder) wrong(line int, path, text string) {
	d.errs = append(d.errs, fmt.Errorf("line %d: %s %s", line, cmp.Or(path, "the file"), text))
}

func (d *decoder) value(path string, node *yaml.Node, out reflect.Value) {
	d.depth++
	defer func() { d.depth-- }()
	switch {
	case d.depth > maxDepth:
		d.wrong(node.Line, path, "refers to too many others")
	case node.Kind == yaml.AliasNode:
		d.value(path, node.Alias, out)
	case node.Tag == "!!null":
	case out.Kind() == reflect.Pointer:
		out.Set(reflect.New(out.Type().Elem()))
		d.value(path, node, out.Elem())
	case out.Kind() == reflect.Struct:
		d.fields(path, node, out)
	default:
		if want := leaf(node, out); want != "" {
			d.wrong(node.Line, path, "must be "+want)
		}
	}
}

// leaf sets a value that has no keys, or tells what it must be.
func leaf(node *yaml.Node, out reflect.Value) (want string) {
	fits := true
	switch {
	case out.Kind() == reflect.Slice:
		want = "a list of texts"
		fits = node.Kind == yaml.SequenceNode // of one text, the library makes a list
	case out.CanInt():
		want = "an integer"
		fits = node.Tag == "!!int" // the library takes a part of others
	case out.Kind() == reflect.Bool:
		want = "true or false"
	default:
		want = "a text"
	}
	if fits && node.Decode(out.Addr().Interface()) == nil {
		return ""
	}
	return want
}

// fields sets those of a struct.
func (d *decoder) fields(path string, node *yaml.Node, out reflect.Value) {
	if node.Kind != yaml.MappingNode {
		d.wrong(node.Line, path, "must be a map of keys")
		return
	}
	known := map[string]reflect.Value{}
	for i := range out.NumField() {
		if key := out.Type().Field(i).Tag.Get("yaml"); key != "" {
			known[key] = out.Field(i)
		}
	}
	d.merge(path, node, out)
	there := map[string]int{}
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		at := key.Value
		if path != "" {
			at = path + "." + at
		}
		field, ok := known[key.Value]
		switch {
		case key.Tag == mergeTag:
		case there[key.Value] != 0:
			d.wrong(key.Line, at, fmt.Sprintf("is there already, in line %d", there[key.Value]))
		case ok:
			d.lines[at] = key.Line
			d.value(at, value, field)
		case path == d.strict:
			d.wrong(key.Line, at, "is not known")
		}
		there[key.Value] = key.Line
	}
}

const mergeTag = "!!merge" // of the key "<<"

// merge sets the fields that other maps have for this one, which its own keys override.
func (d *decoder) merge(path string, node *yaml.Node, out reflect.Value) {
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		switch {
		case key.Tag != mergeTag:
		case value.Kind == yaml.SequenceNode:
			for _, other := range slices.Backward(value.Content) { // the first one counts
				d.value(path, other, out)
			}
		default:
			d.value(path, value, out)
		}
	}
}
