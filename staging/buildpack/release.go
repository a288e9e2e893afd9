package buildpack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/deakit/deakit/internal/containerfs"
	"go.yaml.in/yaml/v3"
)

// MaxProcfileBytes bounds a Procfile. What it holds goes into messages, which are bounded too.
const MaxProcfileBytes = 64 << 10

// errNoMap: the YAML is something else than a map.
var errNoMap = errors.New("it is no map")

// ErrProcfile means that the Procfile is no YAML map. Its text is that of dea_ng.
var ErrProcfile = errors.New("Invalid Procfile format. Please ensure it is a valid YAML hash")

// ParseProcfile reads a Procfile: a YAML map of process types and commands. Of a process type that stands there several
// times the last one counts, and what is neither text nor a number counts as absent. It fails with ErrProcfile, also
// for an empty file (dea_ng).
func ParseProcfile(data []byte) (map[string]string, error) {
	if len(data) > MaxProcfileBytes {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrProcfile, MaxProcfileBytes)
	}
	top, err := parseMap(data)
	if errors.Is(err, errNoMap) {
		return nil, ErrProcfile
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProcfile, err)
	}
	types, err := commands(top)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProcfile, err)
	}
	return types, nil
}

// Release takes the process types of the Procfile, or else those that bin/release tells. bin/release runs where there is
// no Procfile, or where neither the Procfile nor the user tells the command of the process type web (dea_ng). It fails
// with ErrProcfile, and with a [*ScriptError] when the program does or when its output is no YAML.
func (c *Classic) Release(ctx context.Context, b Build) (Release, error) {
	procfile, err := ReadProcfile(ctx, b)
	if err != nil {
		return Release{}, err
	}
	if procfile != nil && (procfile["web"] != "" || b.StartCommand != "") {
		return Release{ProcessTypes: procfile}, nil
	}
	told, err := c.release(ctx, b)
	switch {
	case err != nil:
		return Release{}, err
	case procfile == nil:
		return Release{ProcessTypes: told}, nil
	}
	return Release{ProcessTypes: procfile, StartCommand: told["web"]}, nil
}

// release runs bin/release with the directory of the app and reads the YAML that it prints; stderr goes to the log. A
// buildpack without bin/release has nothing to tell.
func (c *Classic) release(ctx context.Context, b Build) (map[string]string, error) {
	if !c.has("release") {
		return nil, nil
	}
	var out limited
	status, err := c.run(ctx, b, "release", &out, b.inside(b.AppDir)...)
	if err != nil {
		return nil, err
	}
	failed := &ScriptError{Script: script("release"), Status: status, Output: out.text()}
	switch {
	case status != 0:
		return nil, failed
	case out.over:
		failed.Err = fmt.Errorf("its output has more than %d bytes", maxOutput)
		return nil, failed
	}
	types, err := parseRelease(out.kept.Bytes())
	if err != nil {
		failed.Err = fmt.Errorf("its output is no YAML: %w", err)
		return nil, failed
	}
	return types, nil
}

// ReadProcfile reads the Procfile of the app; nil if there is none. It fails with ErrProcfile.
func ReadProcfile(ctx context.Context, b Build) (map[string]string, error) {
	data, err := procfile(ctx, b)
	if err != nil || data == nil {
		return nil, err
	}
	return ParseProcfile(data)
}

// procfile returns the text of the Procfile; nil if there is none.
func procfile(ctx context.Context, b Build) ([]byte, error) {
	data, err := containerfs.ReadFile(ctx, b.Container, path.Join(b.AppDir, "Procfile"), MaxProcfileBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrProcfile, err)
	}
	return data, nil
}

// parseRelease reads the output of bin/release. What is empty or no map has no process types; dea_ng crashes there.
func parseRelease(data []byte) (map[string]string, error) {
	top, err := parseMap(data)
	if errors.Is(err, errNoMap) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	types, ok := entries(top)["default_process_types"]
	if !ok || types.Kind != yaml.MappingNode {
		return nil, nil
	}
	return commands(types)
}

// parseMap returns the top-level map. It stays a tree of nodes, because decoding into Go types fails on duplicate keys and
// expands aliases.
func parseMap(data []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errNoMap
	}
	return doc.Content[0], nil
}

// entries returns the values of a map by key; the last one of equal keys. Aliases are followed once.
func entries(node *yaml.Node) map[string]*yaml.Node {
	values := map[string]*yaml.Node{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if key.Kind == yaml.ScalarNode && key.Value != "" {
			values[key.Value] = value
		}
	}
	return values
}

// errExpanded: text that stands once in the YAML, and that aliases repeat, is bounded as if it stood there each time.
var errExpanded = fmt.Errorf("its commands have more than %d bytes in all", MaxProcfileBytes)

func commands(node *yaml.Node) (map[string]string, error) {
	types, size := map[string]string{}, 0
	for name, value := range entries(node) {
		if value.Kind != yaml.ScalarNode || value.ShortTag() == "!!null" || value.Value == "" {
			continue
		}
		if size += len(name) + len(value.Value); size > MaxProcfileBytes {
			return nil, errExpanded
		}
		types[name] = value.Value
	}
	return types, nil
}
