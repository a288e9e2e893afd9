package droplet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

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
	keyConfig   = "config"
	keyPrefix   = "entrypoint_prefix" // in config
	keyPacks    = "buildpacks"
	keySidecars = "sidecars"
)

// knownKeys are those that ParseInfo looks at.
var knownKeys = []string{keyPath, keyDetected, keyCommand, keyProcfile, keyError, keyConfig, keyPacks, keySidecars}

// StagingInfo is what staging writes down in the droplet about itself (dea_ng). The empty string stands for null and
// for a key that is missing.
type StagingInfo struct {
	BuildpackPath     string            // directory of the buildpack that was used
	DetectedBuildpack string            // name that its detect printed; empty where detect did not run
	StartCommand      string            // empty where nothing told one
	EffectiveProcfile map[string]string // process type to command; nil where staging knew none

	// EntrypointPrefix stands before the start command, where a buildpack asked for that: a program that runs its arguments
	// (buildpackapplifecycle).
	EntrypointPrefix string

	// Buildpacks are those that took part, in their order. The original knows only the one of BuildpackPath.
	Buildpacks []BuildpackInfo
	Sidecars   []Sidecar

	// Error is set where staging failed; the other fields are empty then.
	Error *StagingError
}

// BuildpackInfo tells which buildpack took part in a staging.
type BuildpackInfo struct {
	Key     string `json:"key,omitempty" yaml:"key,omitempty"`   // of an admin buildpack
	Name    string `json:"name,omitempty" yaml:"name,omitempty"` // what it calls itself, or its id
	Version string `json:"version,omitempty" yaml:"version,omitempty"`
}

// A Sidecar is a process that runs beside processes of the app (buildpackapplifecycle).
type Sidecar struct {
	Name         string   `json:"name" yaml:"name"`
	ProcessTypes []string `json:"process_types" yaml:"process_types"` // beside which it runs
	Command      string   `json:"command" yaml:"command"`
	MemoryMB     int64    `json:"memory,omitempty" yaml:"memory,omitempty"` // 0 means that nobody told
}

// maxListed bounds the lists that are read.
const maxListed = 100

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
			Config            map[string]string `yaml:"config,omitempty"`
			Buildpacks        []BuildpackInfo   `yaml:"buildpacks,omitempty"`
			Sidecars          []Sidecar         `yaml:"sidecars,omitempty"`
		}{
			orNull(i.BuildpackPath), orNull(i.DetectedBuildpack), orNull(i.StartCommand), i.EffectiveProcfile,
			i.config(), i.Buildpacks, i.Sidecars,
		}
	}
	body, err := yaml.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", InfoName, err)
	}
	return append([]byte("---\n"), body...), nil
}

func (i StagingInfo) config() map[string]string {
	if i.EntrypointPrefix == "" {
		return nil
	}
	return map[string]string{keyPrefix: i.EntrypointPrefix}
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
	if config, ok := doc[keyConfig].(map[string]any); ok {
		info.EntrypointPrefix = text(config[keyPrefix])
	}
	for _, bp := range maps(doc[keyPacks]) {
		info.Buildpacks = append(info.Buildpacks, BuildpackInfo{text(bp["key"]), text(bp["name"]), text(bp["version"])})
	}
	for _, s := range maps(doc[keySidecars]) {
		memory, _ := strconv.ParseInt(text(s["memory"]), 10, 64) // 0, as if nobody had told
		info.Sidecars = append(info.Sidecars, Sidecar{text(s["name"]), texts(s["process_types"]), text(s["command"]), memory})
	}
	if commands, ok := doc[keyProcfile].(map[string]any); ok {
		info.EffectiveProcfile = map[string]string{}
		for kind, command := range commands {
			if command := text(command); command != "" {
				info.EffectiveProcfile[kind] = command
			}
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
	for _, key := range knownKeys {
		if node := nodes[key]; node != nil {
			doc[key] = fromNode(node, 4)
		}
	}
	return doc, nil
}

// fromNode turns a node into a string, a map of strings, or a list of maps and strings, without regard to tags. The nodes
// are read one by one because decoding into Go types fails on tags that it does not know. Aliases can lead in circles,
// and can multiply: depth ends that, and none is followed in a list.
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
			if value.Kind == yaml.SequenceNode && value == node.Content[i+1] {
				m[node.Content[i].Value] = fromNode(value, depth-1)
			}
		}
		return m
	case yaml.SequenceNode:
		var list []any
		for _, element := range node.Content {
			if element.Kind != yaml.AliasNode {
				list = append(list, fromNode(element, depth-1))
			}
		}
		return list
	}
	return nil
}

// maps returns the maps of a list.
func maps(v any) []map[string]any {
	list, _ := v.([]any)
	var found []map[string]any
	for _, element := range list[:min(len(list), maxListed)] {
		if m, ok := element.(map[string]any); ok {
			found = append(found, m)
		}
	}
	return found
}

// texts returns the texts of a list.
func texts(v any) []string {
	list, _ := v.([]any)
	var found []string
	for _, element := range list[:min(len(list), maxListed)] {
		if s := text(element); s != "" {
			found = append(found, s)
		}
	}
	return found
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
