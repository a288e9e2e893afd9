package droplet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// InfoName is the name of the file in a droplet that [StagingInfo] describes (dea_ng).
const InfoName = "staging_info.yml"

// MaxInfoBytes bounds staging_info.yml.
const MaxInfoBytes = 1 << 20

// ErrNoInfo: the droplet has no staging_info.yml. It was made before August 2013, and starts with ./startup (dea_ng).
var ErrNoInfo = errors.New("droplet has no " + InfoName)

// The keys of staging_info.yml.
const (
	keyPath     = "buildpack_path"
	keyDetected = "detected_buildpack"
	keyCommand  = "start_command"
	keyProcfile = "effective_procfile"
	keyError    = "staging_error"
	keyPacks    = "buildpacks" // of this library
)

// StagingInfo is what staging writes down in the droplet about itself (dea_ng). The empty string stands for null and
// for a key that is missing.
type StagingInfo struct {
	BuildpackPath     string            // directory of the buildpack that was used
	DetectedBuildpack string            // name that its detect printed; empty where detect did not run
	StartCommand      string            // empty where nothing told one
	EffectiveProcfile map[string]string // process type to command; nil where staging knew none

	// Buildpacks took part, in this order, where staging wrote them down. The original does not: its readers pass over
	// the key.
	Buildpacks []BuildpackInfo

	// Error is set where staging failed; the other fields are empty then.
	Error *StagingError
}

// BuildpackInfo is one of StagingInfo.Buildpacks. The empty string stands for what is not known.
type BuildpackInfo struct {
	Key     string `yaml:"key,omitempty" json:"key,omitempty"` // of the platform's store, or a URL
	Name    string `yaml:"name,omitempty" json:"name,omitempty"`
	Version string `yaml:"version,omitempty" json:"version,omitempty"`
}

// maxBuildpacks bounds the list that is read.
const maxBuildpacks = 100

// A StagingError is the failure that staging_info.yml reports.
type StagingError struct {
	Type    string `yaml:"type"` // "NoAppDetectedError" for example
	Message string `yaml:"message"`
}

func (e *StagingError) Error() string {
	return fmt.Sprintf("staging failed: %s: %s", e.Type, e.Message)
}

// Marshal returns the content of staging_info.yml, with the keys in the order of the original.
func (i StagingInfo) Marshal() ([]byte, error) {
	var out any
	if i.Error != nil {
		out = struct {
			Error *StagingError `yaml:"staging_error"`
		}{i.Error}
	} else {
		out = struct {
			BuildpackPath     *string           `yaml:"buildpack_path"`
			DetectedBuildpack *string           `yaml:"detected_buildpack"`
			StartCommand      *string           `yaml:"start_command"`
			EffectiveProcfile map[string]string `yaml:"effective_procfile,omitempty"`
			Buildpacks        []BuildpackInfo   `yaml:"buildpacks,omitempty"`
		}{orNull(i.BuildpackPath), orNull(i.DetectedBuildpack), orNull(i.StartCommand), i.EffectiveProcfile, i.Buildpacks}
	}
	body, err := yaml.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", InfoName, err)
	}
	return append([]byte("---\n"), body...), nil
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// ParseInfo reads the content of staging_info.yml, at most MaxInfoBytes of YAML or JSON. Unknown keys and tags, nulls,
// missing keys and an empty file are accepted, and so is a path as the tagged object that the original writes for
// custom buildpacks.
func ParseInfo(data []byte) (StagingInfo, error) {
	if len(data) > MaxInfoBytes {
		return StagingInfo{}, fmt.Errorf("read %s: more than %d bytes", InfoName, MaxInfoBytes)
	}
	doc, err := parseDocument(data)
	if err != nil {
		return StagingInfo{}, fmt.Errorf("read %s: %w", InfoName, err)
	}
	if failure, ok := doc[keyError].(map[string]any); ok {
		return StagingInfo{Error: &StagingError{Type: text(failure["type"]), Message: text(failure["message"])}}, nil
	}
	info := StagingInfo{
		BuildpackPath:     text(doc[keyPath]),
		DetectedBuildpack: text(doc[keyDetected]),
		StartCommand:      text(doc[keyCommand]),
	}
	if tagged, ok := doc[keyPath].(map[string]any); ok {
		info.BuildpackPath = text(tagged["path"])
	}
	if commands, ok := doc[keyProcfile].(map[string]any); ok {
		info.EffectiveProcfile = map[string]string{}
		for kind, command := range commands {
			if command := text(command); command != "" {
				info.EffectiveProcfile[kind] = command
			}
		}
	}
	list, _ := doc[keyPacks].([]any)
	for _, item := range list[:min(len(list), maxBuildpacks)] {
		if pack, ok := item.(map[string]any); ok {
			info.Buildpacks = append(info.Buildpacks, BuildpackInfo{text(pack["key"]), text(pack["name"]), text(pack["version"])})
		}
	}
	return info, nil
}

// parseDocument returns the top-level map. Behind the known keys stand strings, maps, lists, or nil for all else.
func parseDocument(data []byte) (map[string]any, error) {
	// JSON is nearly YAML: escaped surrogates and tabs between tokens are not.
	var doc map[string]any
	if d := json.NewDecoder(bytes.NewReader(data)); bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		d.UseNumber()
		if err := d.Decode(&doc); err == nil {
			return doc, nil
		}
	}
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		return nil, err
	}
	if node.Kind == 0 || len(node.Content) == 0 {
		return nil, nil
	}
	top := node.Content[0]
	if top.Kind == yaml.ScalarNode && top.ShortTag() == "!!null" {
		return nil, nil
	}
	if top.Kind != yaml.MappingNode {
		return nil, errors.New("content is not a map")
	}
	// A key may stand there any number of times and mean the last; only that is looked into.
	nodes := map[string]*yaml.Node{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		nodes[top.Content[i].Value] = top.Content[i+1]
	}
	doc = map[string]any{}
	for _, key := range []string{keyPath, keyDetected, keyCommand, keyProcfile, keyError, keyPacks} {
		if node := nodes[key]; node != nil {
			doc[key] = fromNode(node, 3)
		}
	}
	return doc, nil
}

// fromNode turns a node into a string, a map of strings or a list of such maps, without regard to tags. The nodes are read one by one
// because decoding into Go types fails on tags that it does not know. Aliases can lead in circles; depth ends that.
func fromNode(node *yaml.Node, depth int) any {
	if depth == 0 {
		return nil
	}
	switch node.Kind {
	case yaml.AliasNode:
		return fromNode(node.Alias, depth-1)
	case yaml.ScalarNode:
		if node.ShortTag() != "!!null" {
			return node.Value
		}
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			value := node.Content[i+1]
			if value.Kind == yaml.AliasNode {
				value = value.Alias
			}
			if value.Kind == yaml.ScalarNode {
				m[node.Content[i].Value] = fromNode(value, 1)
			}
		}
		return m
	case yaml.SequenceNode:
		var list []any
		for _, item := range node.Content[:min(len(node.Content), maxBuildpacks)] {
			if item.Kind == yaml.MappingNode { // not what aliases stand for: many of one could be large
				list = append(list, fromNode(item, depth-1))
			}
		}
		return list
	}
	return nil
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return fmt.Sprint(v)
	}
	return ""
}
