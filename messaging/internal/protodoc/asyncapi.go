package protodoc

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/deakit/deakit/messaging"
)

// AsyncAPI returns the catalogue as an AsyncAPI 3.0 document, seen from a platform node: what it sends and what it
// receives.
func AsyncAPI(kinds []messaging.Kind, comments Comments) ([]byte, error) {
	schemas := NewSchemas(comments)
	channels, operations := mapping{}, mapping{}
	for _, kind := range kinds {
		id := channelID(kind.Subject)
		messages, err := channelMessages(schemas, []any{kind.Example})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind.Subject, err)
		}
		channels = channels.with(id, channel(kind, messages))
		answers, err := channelMessages(schemas, kind.Answers)
		if err != nil {
			return nil, fmt.Errorf("answer to %s: %w", kind.Subject, err)
		}
		if len(answers) > 0 {
			channels = channels.with(id+"Answer", mapping{}.
				with("address", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}).
				with("title", "answers to "+address(kind.Subject)).
				with("messages", answers))
		}
		if kind.Direction != messaging.NodeIgnores {
			operations = operations.with(id, operation(kind, id, messages, answers))
		}
	}
	components := mapping{}
	for _, name := range schemas.names {
		components = components.with(name, schemas.byName[name].yaml())
	}
	var out bytes.Buffer
	out.WriteString("# Generated from package messaging: go test ./messaging/internal/protodoc -update\n")
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	err := encoder.Encode(mapping{}.
		with("asyncapi", "3.0.0").
		with("info", mapping{}.
			with("title", "Platform node").
			with("version", "1.0.0").
			with("description", "What a platform node (a DEA, a stager) of Cloud Foundry v2 sends and receives over NATS.").
			with("license", mapping{}.with("name", "Apache-2.0"))).
		with("defaultContentType", "application/json").
		with("servers", mapping{}.with("nats", mapping{}.with("host", "localhost:4222").with("protocol", "nats"))).
		with("channels", channels).
		with("operations", operations).
		with("components", mapping{}.with("schemas", components)))
	if err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}

func channel(kind messaging.Kind, messages mapping) mapping {
	c := mapping{}.
		with("address", address(kind.Subject)).
		with("title", kind.Purpose).
		with("description", strings.TrimSpace(kind.From+" to "+kind.To+". Used: "+kind.Era+". "+kind.Note))
	if strings.Contains(kind.Subject, "*") {
		c = c.with("parameters", mapping{}.with("id", mapping{}.with("description", "id of the component that is addressed")))
	}
	return c.with("messages", messages).with("tags", []mapping{{{"name", kind.Area}}})
}

func operation(kind messaging.Kind, id string, messages, answers mapping) mapping {
	action := "receive"
	if kind.Direction == messaging.NodeSends || kind.Direction == messaging.NodeAsks {
		action = "send"
	}
	o := mapping{}.
		with("action", action).
		with("channel", ref("channels", id)).
		with("summary", kind.Purpose).
		with("messages", refs(id, messages))
	if kind.Group != "" {
		o = o.with("bindings", mapping{}.with("nats", mapping{}.with("queue", kind.Group)))
	}
	if len(answers) > 0 {
		address := mapping{}.
			with("location", "$message.header#/reply-to").
			with("description", "the reply subject of the NATS message")
		if kind.ReplyTo != "" {
			address = mapping{}.
				with("location", "$message.payload#/"+kind.ReplyTo).
				with("description", "the subject that the message names")
		}
		o = o.with("reply", mapping{}.
			with("address", address).
			with("channel", ref("channels", id+"Answer")).
			with("messages", refs(id+"Answer", answers)))
	}
	return o
}

// channelMessages has one message for each type among the examples, with all its examples.
func channelMessages(schemas *Schemas, examples []any) (mapping, error) {
	messages := mapping{}
	for _, example := range examples {
		t := reflect.TypeOf(example)
		payload, err := schemas.Of(t)
		if err != nil {
			return nil, err
		}
		data, err := Encode(example)
		if err != nil {
			return nil, err
		}
		value, err := fromJSON(data)
		if err != nil {
			return nil, err
		}
		shown := mapping{{"payload", value}}
		if last := len(messages) - 1; last >= 0 && messages[last].key == t.Name() {
			m := messages[last].value.(mapping)
			m[len(m)-1].value = append(m[len(m)-1].value.([]mapping), shown)
			continue
		}
		messages = messages.with(t.Name(), mapping{}.
			with("title", t.Name()).
			with("summary", schemas.comments[t.Name()].Text).
			with("payload", payload.yaml()).
			with("examples", []mapping{shown}))
	}
	return messages, nil
}

func ref(path ...string) mapping { return mapping{{"$ref", "#/" + strings.Join(path, "/")}} }

func refs(channel string, messages mapping) []mapping {
	var all []mapping
	for _, m := range messages {
		all = append(all, ref("channels", channel, "messages", m.key))
	}
	return all
}

// address shows where the id stands: dea.{id}.start.
func address(subject string) string { return strings.ReplaceAll(subject, "*", "{id}") }

// channelID turns dea.*.start into deaIDStart.
func channelID(subject string) string {
	parts := strings.Split(strings.ReplaceAll(subject, "*", "ID"), ".")
	for i, part := range parts[1:] {
		parts[i+1] = strings.ToUpper(part[:1]) + part[1:]
	}
	return strings.Join(parts, "")
}

// yaml returns the schema as JSON Schema.
func (s Schema) yaml() mapping {
	if s.Ref != "" {
		if s.Description == "" {
			return ref("components", "schemas", s.Ref)
		}
		// What stands beside a $ref is not read.
		return mapping{}.with("description", s.Description).with("allOf", []mapping{ref("components", "schemas", s.Ref)})
	}
	m := mapping{}
	if len(s.Types) == 1 {
		m = m.with("type", s.Types[0])
	} else {
		m = m.with("type", s.Types)
	}
	m = m.with("description", s.Description).
		with("enum", s.Enum).with("pattern", s.Pattern).with("minLength", s.MinLength).
		with("minimum", s.Minimum).with("maximum", s.Maximum).
		with("minItems", s.MinItems).with("maxItems", s.MaxItems)
	if s.Items != nil {
		m = m.with("items", s.Items.yaml())
	}
	if s.Values != nil {
		m = append(m, member{"additionalProperties", s.Values.yaml()})
	}
	properties, required := mapping{}, []string(nil)
	for _, p := range s.Properties {
		properties = append(properties, member{p.Name, p.Schema.yaml()})
		if p.Required {
			required = append(required, p.Name)
		}
	}
	return m.with("required", required).with("properties", properties)
}
