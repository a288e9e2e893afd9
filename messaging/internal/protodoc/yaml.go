package protodoc

import (
	"go.yaml.in/yaml/v3"
)

// A mapping is a YAML mapping whose keys keep their order.
type mapping []member

type member struct {
	key   string
	value any
}

// with returns the mapping with one more member, unless the value is nothing.
func (m mapping) with(key string, value any) mapping {
	switch v := value.(type) {
	case nil:
		return m
	case string:
		if v == "" {
			return m
		}
	case int:
		if v == 0 {
			return m
		}
	case *int64:
		if v == nil {
			return m
		}
	case []string:
		if len(v) == 0 {
			return m
		}
	case mapping:
		if len(v) == 0 {
			return m
		}
	}
	return append(m, member{key, value})
}

// MarshalYAML implements yaml.Marshaler.
func (m mapping) MarshalYAML() (any, error) {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, member := range m {
		var key, value yaml.Node
		if err := key.Encode(member.key); err != nil {
			return nil, err
		}
		if err := value.Encode(member.value); err != nil {
			return nil, err
		}
		node.Content = append(node.Content, &key, &value)
	}
	return node, nil
}

// fromJSON turns JSON into YAML with the same order of keys.
func fromJSON(data []byte) (*yaml.Node, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, err
	}
	value := document.Content[0]
	unstyle(value)
	return value, nil
}

// unstyle lets the encoder choose the form: blocks, and quotes where they are needed. What is empty stays on its line.
func unstyle(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode || len(node.Content) > 0 {
		node.Style = 0
	}
	for _, child := range node.Content {
		unstyle(child)
	}
}
