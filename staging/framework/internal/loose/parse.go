package loose

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parse reads a document: as JSON if it begins like an object of JSON and is one, else as YAML. Nothing is null.
func Parse(data []byte) (Value, error) {
	if len(data) <= MaxBytes && bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		if v, err := JSON(data); err == nil || errors.Is(err, ErrLimit) {
			return v, err
		}
	}
	return YAML(data)
}

// A reader counts what it makes.
type reader struct {
	values int
	keys   int // compared so far, since maps are searched key by key
}

func (r *reader) enter(depth int) error {
	if r.values++; r.values > maxValues {
		return fmt.Errorf("%w: more than %d values", ErrLimit, maxValues)
	}
	if depth > maxDepth {
		return fmt.Errorf("%w: more than %d levels", ErrLimit, maxDepth)
	}
	return nil
}

// set puts a value into a map and bounds the work that many keys are.
func (r *reader) set(m *Value, key string, value Value) error {
	const most = 20_000_000
	if r.keys += len(m.keys); r.keys > most {
		return fmt.Errorf("%w: too many keys", ErrLimit)
	}
	m.set(key, value)
	return nil
}

// JSON reads a document of JSON, with nothing behind it.
func JSON(data []byte) (Value, error) {
	if len(data) > MaxBytes {
		return Value{}, fmt.Errorf("%w: more than %d bytes", ErrLimit, MaxBytes)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	r := &reader{}
	v, err := r.json(d, 0)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Value{}, ErrCutShort
	}
	if err != nil {
		return Value{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Value{}, errors.New("something follows the document")
	}
	return v, nil
}

func (r *reader) json(d *json.Decoder, depth int) (Value, error) {
	token, err := d.Token()
	if err != nil {
		return Value{}, err
	}
	if err := r.enter(depth); err != nil {
		return Value{}, err
	}
	switch token := token.(type) {
	case nil:
		return Value{}, nil
	case bool:
		return Value{kind: Bool, text: strconv.FormatBool(token)}, nil
	case json.Number:
		return Value{kind: Number, text: token.String()}, nil
	case string:
		return Value{kind: String, text: token}, nil
	}
	v := Value{kind: List}
	if token == json.Delim('{') {
		v.kind = Map
	}
	for d.More() {
		var key string
		if v.kind == Map {
			token, err := d.Token()
			if err != nil {
				return Value{}, err
			}
			key, _ = token.(string) // which the decoder has seen to
		}
		child, err := r.json(d, depth+1)
		if err == nil && v.kind == Map {
			err = r.set(&v, key, child)
		} else if err == nil {
			v.vals = append(v.vals, child)
		}
		if err != nil {
			return Value{}, err
		}
	}
	_, err = d.Token() // the closing one
	return v, err
}

// YAML reads the first document of YAML. Tags mean nothing but for null, bools and numbers, and "<<" is a key like others.
func YAML(data []byte) (Value, error) {
	if len(data) > MaxBytes {
		return Value{}, fmt.Errorf("%w: more than %d bytes", ErrLimit, MaxBytes)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return Value{}, err
	}
	if len(doc.Content) == 0 {
		return Value{}, nil
	}
	r := &reader{}
	return r.yaml(doc.Content[0], 0)
}

func (r *reader) yaml(node *yaml.Node, depth int) (Value, error) {
	if err := r.enter(depth); err != nil {
		return Value{}, err
	}
	switch node.Kind {
	case yaml.AliasNode: // may lead in a circle, which the depth ends
		return r.yaml(node.Alias, depth+1)
	case yaml.ScalarNode:
		return scalar(node), nil
	case yaml.SequenceNode:
		v := Value{kind: List}
		for _, element := range node.Content {
			child, err := r.yaml(element, depth+1)
			if err != nil {
				return Value{}, err
			}
			v.vals = append(v.vals, child)
		}
		return v, nil
	case yaml.MappingNode:
		v := Value{kind: Map}
		for pair := range slices.Chunk(node.Content, 2) {
			child, err := r.yaml(pair[1], depth+1)
			if err == nil {
				err = r.set(&v, pair[0].Value, child)
			}
			if err != nil {
				return Value{}, err
			}
		}
		return v, nil
	}
	return Value{}, nil
}

func scalar(node *yaml.Node) Value {
	switch node.ShortTag() {
	case "!!null":
		return Value{}
	case "!!bool":
		return Value{kind: Bool, text: strings.ToLower(node.Value)}
	case "!!int", "!!float":
		return Value{kind: Number, text: node.Value}
	}
	return Value{kind: String, text: node.Value}
}
