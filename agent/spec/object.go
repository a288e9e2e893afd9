package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// An object is a JSON object that is taken apart member by member. It remembers the first thing that is wrong.
type object struct {
	path    string // of this object within the spec, "" for the spec itself
	members map[string]json.RawMessage
	err     error
}

// open reads an object; null is an empty one. What stands for an object where there is none is in loose: `""`.
func open(path string, raw json.RawMessage, loose ...string) *object {
	o := &object{path: path}
	text := string(bytes.TrimSpace(raw))
	if text == "" || text == "null" || slices.Contains(loose, text) {
		return o
	}
	if text[0] != '{' {
		o.err = fmt.Errorf("%w: %s: object expected, %s given", ErrInvalid, o.at(""), kind(text))
		return o
	}
	if err := json.Unmarshal(raw, &o.members); err != nil {
		o.err = fmt.Errorf("%w: %s: %w", ErrInvalid, o.at(""), err)
	}
	return o
}

// at is the path of a member, for people.
func (o *object) at(name string) string {
	switch {
	case o.path == "" && name == "":
		return "spec"
	case o.path == "":
		return name
	case name == "":
		return o.path
	}
	return o.path + "." + name
}

// take takes a member out unless it is null or one of loose, which both mean nothing.
func (o *object) take(name string, loose ...string) json.RawMessage {
	raw, ok := o.members[name]
	text := string(bytes.TrimSpace(raw))
	if !ok || text == "null" || slices.Contains(loose, text) {
		return nil
	}
	delete(o.members, name)
	return raw
}

// text takes a string. A number is taken for its digits, since versions were numbers at times. An empty string stays
// behind, so that it is sent back as it came.
func (o *object) text(name string, loose ...string) string {
	raw := o.take(name, append(loose, `""`)...)
	if raw == nil {
		return ""
	}
	var value any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		o.fail(name, "string", raw)
	}
	switch value := value.(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	}
	o.fail(name, "string", raw)
	return ""
}

// number takes an integer.
func (o *object) number(name string, loose ...string) *int {
	raw := o.take(name, loose...)
	if raw == nil {
		return nil
	}
	n, err := strconv.Atoi(string(raw))
	if err != nil {
		o.fail(name, "integer", raw)
		return nil
	}
	return &n
}

// decode takes a member of any other type.
func (o *object) decode(name, expected string, into any) {
	if raw := o.take(name); raw != nil && json.Unmarshal(raw, into) != nil {
		o.fail(name, expected, raw)
	}
}

func (o *object) fail(name, expected string, raw json.RawMessage) {
	o.adopt(fmt.Errorf("%w: %s: %s expected, %s given", ErrInvalid, o.at(name), expected, kind(string(bytes.TrimSpace(raw)))))
}

func (o *object) adopt(err error) {
	if o.err == nil {
		o.err = err
	}
}

// rest is what nobody took.
func (o *object) rest() map[string]json.RawMessage {
	if len(o.members) == 0 {
		return nil
	}
	return o.members
}

// kind names the type of a JSON text. The text itself may be a secret.
func kind(text string) string {
	switch {
	case text == "":
		return "nothing"
	case text[0] == '{':
		return "object"
	case text[0] == '[':
		return "array"
	case text[0] == '"':
		return "string"
	case text == "true" || text == "false":
		return "boolean"
	case text == "null":
		return "null"
	}
	return "number"
}

// A member is one of an object that is written.
type member struct {
	name  string
	value any
	given bool // else what came under this name is written, or nothing
}

// write writes members in their order, and then the others of extra in that of their names.
func write(members []member, extra map[string]json.RawMessage) ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	put := func(name string, value any) error {
		data, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		key, err := json.Marshal(name)
		if err != nil {
			return err
		}
		if out.Len() > 1 {
			out.WriteByte(',')
		}
		out.Write(key)
		out.WriteByte(':')
		out.Write(data)
		return nil
	}
	known := map[string]bool{}
	for _, m := range members {
		known[m.name] = true
		value, ok := m.value, m.given
		if came, there := extra[m.name]; !ok && there {
			value, ok = came, true
		}
		if !ok {
			continue
		}
		if err := put(m.name, value); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if known[name] {
			continue
		}
		if err := put(name, extra[name]); err != nil {
			return nil, err
		}
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}
