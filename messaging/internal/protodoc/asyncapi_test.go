package protodoc_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/deakit/deakit/messaging"
)

type object = map[string]any

// document reads docs/asyncapi.yaml as another program would.
func document(t *testing.T) object {
	t.Helper()
	data, err := os.ReadFile("../../../docs/asyncapi.yaml")
	require.NoError(t, err)
	var doc object
	require.NoError(t, yaml.Unmarshal(data, &doc))
	return doc
}

// at follows keys into the document.
func at(value any, path ...string) any {
	for _, key := range path {
		inner, _ := value.(object)
		value = inner[key]
	}
	return value
}

// resolve finds what a $ref names, nil when there is nothing.
func resolve(doc object, ref string) any {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil
	}
	return at(doc, strings.Split(path, "/")...)
}

func TestAsyncAPIReferencesResolve(t *testing.T) {
	doc := document(t)
	found := 0
	var walk func(where string, value any)
	walk = func(where string, value any) {
		switch value := value.(type) {
		case []any:
			for i, inner := range value {
				walk(fmt.Sprintf("%s[%d]", where, i), inner)
			}
		case object:
			if ref, ok := value["$ref"].(string); ok {
				found++
				assert.NotNil(t, resolve(doc, ref), "%s: %s", where, ref)
				assert.Len(t, value, 1, "%s: what stands beside a $ref is not read", where)
			}
			for key, inner := range value {
				walk(where+"/"+key, inner)
			}
		}
	}
	walk("#", doc)
	assert.Greater(t, found, 100)
}

func TestAsyncAPIHasWhatTheStandardRequires(t *testing.T) {
	doc := document(t)
	assert.Equal(t, "3.0.0", doc["asyncapi"])
	assert.NotEmpty(t, at(doc, "info", "title"))
	assert.NotEmpty(t, at(doc, "info", "version"))
	key := regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)
	for id, channel := range at(doc, "channels").(object) {
		assert.Regexp(t, key, id)
		assert.Contains(t, channel, "address", id)
		for name, message := range at(channel, "messages").(object) {
			assert.Regexp(t, key, name)
			assert.NotEmpty(t, at(message, "payload"), "%s: %s", id, name)
		}
		address, _ := at(channel, "address").(string)
		assert.Equal(t, strings.Contains(address, "{id}"), at(channel, "parameters", "id") != nil, id)
	}
	for id, operation := range at(doc, "operations").(object) {
		assert.Contains(t, []any{"send", "receive"}, at(operation, "action"), id)
		require.NotEmpty(t, at(operation, "messages"), id)
		within(t, operation)
		if reply := at(operation, "reply"); reply != nil {
			assert.NotEmpty(t, at(reply, "address", "location"), id)
			within(t, reply)
		}
	}
}

// within checks that messages are those of the channel, as the standard demands.
func within(t *testing.T, operation any) {
	t.Helper()
	channel := at(operation, "channel", "$ref").(string)
	for _, message := range at(operation, "messages").([]any) {
		assert.True(t, strings.HasPrefix(at(message, "$ref").(string), channel+"/messages/"), "%s: %v", channel, message)
	}
}

func TestAsyncAPIHasEveryKind(t *testing.T) {
	doc := document(t)
	channels := map[string]any{}
	for id, channel := range at(doc, "channels").(object) {
		if address, ok := at(channel, "address").(string); ok {
			channels[address] = at(doc, "operations", id)
		}
	}
	actions := map[messaging.Direction]any{
		messaging.NodeSends: "send", messaging.NodeAsks: "send", messaging.NodeReceives: "receive", messaging.NodeAnswers: "receive",
	}
	for _, kind := range messaging.Kinds() {
		operation, ok := channels[strings.ReplaceAll(kind.Subject, "*", "{id}")]
		if !assert.True(t, ok, kind.Subject) || kind.Direction == messaging.NodeIgnores {
			continue
		}
		assert.Equal(t, actions[kind.Direction], at(operation, "action"), kind.Subject)
		assert.Equal(t, kind.Answers != nil, at(operation, "reply") != nil, kind.Subject)
		if kind.Group != "" {
			assert.Equal(t, kind.Group, at(operation, "bindings", "nats", "queue"), kind.Subject)
		}
	}
	assert.Len(t, channels, len(messaging.Kinds()))
}

func TestExamplesMeetTheirSchemas(t *testing.T) {
	doc := document(t)
	checked := 0
	for id, channel := range at(doc, "channels").(object) {
		for name, message := range at(channel, "messages").(object) {
			for _, example := range at(message, "examples").([]any) {
				checked++
				for _, problem := range meets(doc, at(message, "payload").(object), at(example, "payload"), name) {
					t.Errorf("%s: %s", id, problem)
				}
			}
		}
	}
	assert.GreaterOrEqual(t, checked, len(messaging.Kinds()))

	// The check itself: it finds what is wrong.
	instance := object{"$ref": "#/components/schemas/Instance"}
	assert.NotEmpty(t, meets(doc, instance, object{}, "empty"))
	limits := object{"$ref": "#/components/schemas/Limits"}
	assert.Empty(t, meets(doc, limits, object{"mem": 1, "disk": 0, "fds": 1}, "limits"))
	assert.Len(t, meets(doc, limits, object{"mem": 1.5, "disk": -1, "fds": "1", "more": nil}, "limits"), 4)
}

// meets lists in what a value does not meet a schema: of JSON Schema what the document uses. Keys that the schema does not
// name are problems, too: an example has none.
func meets(doc, schema object, value any, where string) []string {
	if ref, ok := schema["$ref"].(string); ok {
		return meets(doc, resolve(doc, ref).(object), value, where)
	}
	if all, ok := schema["allOf"].([]any); ok {
		return meets(doc, all[0].(object), value, where)
	}
	if schema["type"] != nil && !slices.Contains(typesOf(schema), typeOf(value)) {
		return []string{fmt.Sprintf("%s: %v is not of type %v", where, value, schema["type"])}
	}
	var problems []string
	wrong := func(ok bool, what string) {
		if !ok {
			problems = append(problems, fmt.Sprintf("%s: %v: %s", where, value, what))
		}
	}
	switch value := value.(type) {
	case string:
		enum, _ := schema["enum"].([]any)
		wrong(enum == nil || slices.Contains(enum, any(value)), "not one of the values")
		pattern, _ := schema["pattern"].(string)
		wrong(regexp.MustCompile(pattern).MatchString(value), "pattern")
		least, _ := schema["minLength"].(int)
		wrong(len(value) >= least, "minLength")
	case int:
		least, ok := schema["minimum"].(int)
		wrong(!ok || value >= least, "minimum")
		most, ok := schema["maximum"].(int)
		wrong(!ok || value <= most, "maximum")
	case []any:
		for i, item := range value {
			items, _ := schema["items"].(object)
			problems = append(problems, meets(doc, items, item, fmt.Sprintf("%s[%d]", where, i))...)
		}
		least, ok := schema["minItems"].(int)
		wrong(!ok || len(value) >= least, "minItems")
	case object:
		required, _ := schema["required"].([]any)
		for _, key := range required {
			wrong(slices.Contains(slices.Collect(maps.Keys(value)), key.(string)), fmt.Sprintf("%s is missing", key))
		}
		for key, inner := range value {
			member, ok := at(schema, "properties", key).(object)
			if !ok {
				member, ok = schema["additionalProperties"].(object)
			}
			wrong(ok || schema["type"] == nil, "unknown key "+key)
			problems = append(problems, meets(doc, member, inner, where+"."+key)...)
		}
	}
	return problems
}

func typesOf(schema object) []string {
	switch types := schema["type"].(type) {
	case string:
		return []string{types}
	case []any:
		var names []string
		for _, name := range types {
			names = append(names, name.(string))
		}
		return names
	default:
		return nil
	}
}

func typeOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case int, int64:
		return "integer"
	case float64:
		return "number"
	case []any:
		return "array"
	case object:
		return "object"
	default:
		return fmt.Sprintf("%T", value)
	}
}
