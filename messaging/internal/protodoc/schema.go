package protodoc

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deakit/deakit/messaging"
)

// A Schema describes a JSON value as it is sent: the subset of JSON Schema that the messages need. The zero Schema is
// any value.
type Schema struct {
	Ref         string // name of a schema of its own; then only Description counts besides
	Types       []string
	Description string
	Enum        []string
	Pattern     string
	MinLength   int
	MinItems    int
	MaxItems    int
	Minimum     *int64
	Maximum     *int64
	Items       *Schema
	Values      *Schema // of a map
	Properties  []Property
}

// A Property is one member of an object.
type Property struct {
	Name     string
	Schema   Schema
	Required bool // always sent
}

// Schemas collects the schemas of struct types, in the order in which they are met.
type Schemas struct {
	comments Comments
	names    []string
	byName   map[string]Schema
}

// NewSchemas returns an empty collection that describes with these comments.
func NewSchemas(comments Comments) *Schemas {
	return &Schemas{comments: comments, byName: map[string]Schema{}}
}

var (
	rawType   = reflect.TypeFor[json.RawMessage]()
	stateType = reflect.TypeFor[messaging.State]()
	timeType  = reflect.TypeFor[time.Time]()
	nullType  = reflect.TypeFor[messaging.AgentShutdown]()
)

// Of returns the schema of a type; structs and lists with a name are collected, and referred to.
func (s *Schemas) Of(t reflect.Type) (Schema, error) {
	switch {
	case t == rawType:
		return Schema{}, nil
	case t == timeType: // RFC 3339
		return Schema{Types: []string{"string"}}, nil
	case t == nullType:
		return Schema{Types: []string{"null"}}, nil
	case t == stateType:
		schema := Schema{Types: []string{"string"}}
		for _, state := range messaging.States() {
			schema.Enum = append(schema.Enum, string(state))
		}
		return schema, nil
	case strings.HasPrefix(t.Name(), "Optional["):
		value, _ := t.FieldByName("Value")
		schema, err := s.Of(value.Type.Elem())
		schema.Types = append(schema.Types, "null")
		return schema, err
	}
	switch t.Kind() {
	case reflect.String:
		return Schema{Types: []string{"string"}}, nil
	case reflect.Bool:
		return Schema{Types: []string{"boolean"}}, nil
	case reflect.Float64:
		return Schema{Types: []string{"number"}}, nil
	case reflect.Int, reflect.Int64:
		return Schema{Types: []string{"integer"}}, nil
	case reflect.Uint16:
		return Schema{Types: []string{"integer"}, Minimum: new(int64(0)), Maximum: new(int64(65535))}, nil
	case reflect.Pointer:
		return s.Of(t.Elem())
	case reflect.Slice:
		items, err := s.Of(t.Elem())
		return Schema{Types: []string{"array"}, Items: &items}, err
	case reflect.Map:
		values, err := s.Of(t.Elem())
		return Schema{Types: []string{"object"}, Values: &values}, err
	case reflect.Struct:
		return Schema{Ref: t.Name()}, s.collect(t)
	default:
		return Schema{}, fmt.Errorf("no schema for Go type %s", t)
	}
}

func (s *Schemas) collect(t reflect.Type) error {
	if _, ok := s.byName[t.Name()]; ok {
		return nil
	}
	s.names = append(s.names, t.Name())
	schema := Schema{Types: []string{"object"}, Description: s.comments[t.Name()].Text}
	s.byName[t.Name()] = schema // a type that contains itself ends here
	var err error
	schema.Properties, err = s.properties(t)
	s.byName[t.Name()] = schema
	return err
}

// properties are the JSON members of a struct, those of embedded ones included.
func (s *Schemas) properties(t reflect.Type) ([]Property, error) {
	var properties []Property
	for i := range t.NumField() {
		field := t.Field(i)
		if field.Anonymous {
			inner, err := s.properties(field.Type)
			if err != nil {
				return nil, err
			}
			properties = append(properties, inner...)
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		schema, err := s.Of(field.Type)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", t.Name(), field.Name, err)
		}
		required := !strings.Contains(options, "omit")
		schema.restrict(field.Tag.Get("validate"))
		if required && nullable(field) {
			if schema.Ref != "" {
				return nil, fmt.Errorf("%s.%s: a struct that may be null has no schema; give it omitempty", t.Name(), field.Name)
			}
			schema.Types = append(schema.Types, "null")
		}
		schema.Description = meaning(s.comments[t.Name()].Fields[field.Name], required)
		properties = append(properties, Property{name, schema, required})
	}
	return properties, nil
}

// nullable tells whether Go writes null for the zero value of a field, and no validation keeps it from being sent.
func nullable(field reflect.StructField) bool {
	checked := strings.Split(field.Tag.Get("validate"), ",")
	switch field.Type.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return field.Type != rawType && !slices.Contains(checked, "required") && !strings.HasPrefix(checked[0], "len=")
	default:
		return false
	}
}

// restrict translates validation tags.
func (s *Schema) restrict(tags string) {
	for _, tag := range strings.Split(tags, ",") {
		name, param, _ := strings.Cut(tag, "=")
		number, _ := strconv.Atoi(param) // the few tags that take a number are checked when they are used
		switch name {
		case "required":
			if slices.Equal(s.Types, []string{"string"}) {
				s.MinLength = 1
			}
		case "gte":
			s.Minimum = new(int64(number))
		case "len":
			s.MinItems, s.MaxItems = number, number
		case "token":
			s.Pattern = `^[^.*>\s]+$`
		case "protocol":
			s.Enum = messaging.Protocols()
		}
	}
}

var nilWord = regexp.MustCompile(`\bnil\b`)

// meaning says "absent" or "null" where Go says nil.
func meaning(comment string, required bool) string {
	word := "absent"
	if required {
		word = "null"
	}
	return nilWord.ReplaceAllString(comment, word)
}

// String names the type for people: "array of string or null".
func (s Schema) String() string {
	if s.Ref != "" {
		return s.Ref
	}
	if len(s.Types) == 0 {
		return "any"
	}
	names := slices.Clone(s.Types)
	switch {
	case s.Items != nil:
		names[0] = "array of " + s.Items.String()
	case s.Values != nil:
		names[0] = "object of " + s.Values.String()
	}
	return strings.Join(names, " or ")
}
