package buildpack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"

	"go.yaml.in/yaml/v3"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerfs"
)

// maxDepsFile bounds config.yml and launch.yml. What they hold goes into messages, which are bounded too.
const maxDepsFile = 64 << 10

// A MemberConfig is what a member of a [Multi] tells of itself in config.yml below its index of deps. All but the key may
// be empty.
type MemberConfig struct {
	Key, Name, Version string
	EntrypointPrefix   string         // a program that runs the start command; that of the last member counts
	OutputMetadata     map[string]any // whatever the member wants to tell: nil, booleans, numbers, texts, lists and maps
}

// Configs reads the config.yml of all members after Compile, also where that failed. Where a member has none that can be
// used, its key is all there is of it, and the log says so. It fails when ctx ends or the container is gone.
func (m *Multi) Configs(ctx context.Context, b Build) ([]MemberConfig, error) {
	configs := make([]MemberConfig, len(m.members))
	for i, member := range m.members {
		config, err := m.config(ctx, b, i)
		var bad *depsFileError
		if errors.As(err, &bad) {
			fmt.Fprintf(b.stderr(), "Warning: %v\n", bad)
		} else if err != nil {
			return nil, err
		}
		config.Key = member.Key()
		configs[i] = config
	}
	return configs, nil
}

func (m *Multi) config(ctx context.Context, b Build, i int) (MemberConfig, error) {
	const name = "config.yml"
	top, err := m.depsFile(ctx, b, i, name)
	if err != nil || top == nil {
		return MemberConfig{}, err
	}
	values := entries(top)
	config := MemberConfig{Name: scalar(values["name"]), Version: scalar(values["version"])}
	if inner := values["config"]; inner != nil && inner.Kind == yaml.MappingNode {
		config.EntrypointPrefix = scalar(entries(inner)["entrypoint_prefix"])
	}
	if metadata := values["output_metadata"]; metadata != nil && metadata.Kind == yaml.MappingNode {
		budget := maxDepsFile // aliases multiply
		told, err := plain(metadata, &budget)
		if err != nil {
			return config, &depsFileError{m.index(i), name, err}
		}
		config.OutputMetadata = told.(map[string]any)
	}
	return config, nil
}

// A depsFileError tells that a file of a member cannot be used.
type depsFileError struct {
	index, name string
	err         error
}

func (e *depsFileError) Error() string {
	return fmt.Sprintf("%s cannot be used: %v", path.Join(depsName, e.index, e.name), e.err)
}

// depsFile reads a YAML map that a member left below its index; nil if there is none. It fails with a *depsFileError, or
// with the error of ctx or the container.
func (m *Multi) depsFile(ctx context.Context, b Build, i int, name string) (*yaml.Node, error) {
	data, err := containerfs.ReadFile(ctx, b.Container, path.Join(m.deps(b, i), name), maxDepsFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, container.ErrStopped), errors.Is(err, container.ErrNotFound):
		return nil, err
	case err != nil:
		return nil, &depsFileError{m.index(i), name, err}
	}
	if isEmptyYAML(data) {
		return &yaml.Node{Kind: yaml.MappingNode}, nil
	}
	top, err := parseMap(data)
	if err != nil {
		return nil, &depsFileError{m.index(i), name, err}
	}
	return top, nil
}

// isEmptyYAML tells whether a document has nothing in it but comments.
func isEmptyYAML(data []byte) bool {
	var doc yaml.Node
	return yaml.Unmarshal(data, &doc) == nil && (doc.IsZero() || len(doc.Content) == 1 && doc.Content[0].ShortTag() == "!!null")
}

// scalar returns the text of a node; empty where it is none.
func scalar(node *yaml.Node) string {
	if node == nil || node.Kind != yaml.ScalarNode || node.ShortTag() == "!!null" {
		return ""
	}
	return node.Value
}

// plain turns a node into what JSON can say, within a budget of values and bytes. What JSON has no word for is text.
func plain(node *yaml.Node, budget *int) (any, error) {
	if *budget -= 1 + len(node.Value); *budget < 0 {
		return nil, errors.New("output_metadata is too large, with all that its aliases stand for")
	}
	switch node.Kind {
	case yaml.AliasNode:
		return plain(node.Alias, budget)
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			*budget -= len(node.Content[i].Value)
			value, err := plain(node.Content[i+1], budget)
			if err != nil {
				return nil, err
			}
			m[node.Content[i].Value] = value
		}
		return m, nil
	case yaml.SequenceNode:
		list := []any{}
		for _, element := range node.Content {
			value, err := plain(element, budget)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	}
	switch node.ShortTag() {
	case "!!null", "!!bool", "!!int", "!!float":
		var value any
		if err := node.Decode(&value); err != nil {
			return nil, err
		}
		if f, isFloat := value.(float64); !isFloat || !math.IsNaN(f) && !math.IsInf(f, 0) {
			return value, nil
		}
	}
	return node.Value, nil
}
