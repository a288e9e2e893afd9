package droplet

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"

	"go.yaml.in/yaml/v3"

	"github.com/deakit/deakit/internal/tarball"
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
)

// StagingInfo is what staging writes down in the droplet about itself (dea_ng). The empty string stands for null and
// for a key that is missing.
type StagingInfo struct {
	BuildpackPath     string            // directory of the buildpack that was used
	DetectedBuildpack string            // name that its detect printed; empty where detect did not run
	StartCommand      string            // empty where nothing told one
	EffectiveProcfile map[string]string // process type to command; nil where staging knew none

	// Error is set where staging failed; the other fields are empty then.
	Error *StagingError
}

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
		}{orNull(i.BuildpackPath), orNull(i.DetectedBuildpack), orNull(i.StartCommand), i.EffectiveProcfile}
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

// ReadInfo finds staging_info.yml in the droplet r and reads it. A droplet without it gives ErrNoInfo. r is read as far
// as needed, within limits; ctx is looked at between chunks.
func ReadInfo(ctx context.Context, r io.Reader, limits Limits) (StagingInfo, error) {
	plain, err := NewReader(contextReader{ctx, r}, limits)
	if err != nil {
		return StagingInfo{}, err
	}
	defer plain.Close()
	tr := tar.NewReader(plain)
	for members := 1; ; members++ {
		hdr, err := tr.Next()
		if err == io.EOF {
			return StagingInfo{}, ErrNoInfo
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // nothing is written under that name here
			return StagingInfo{}, fmt.Errorf("read droplet: %w", err)
		}
		if most := tarball.Limits(limits).WithDefaults().MaxMembers; members > most {
			return StagingInfo{}, &MemberError{Reason: ErrLimit, Detail: fmt.Sprintf("more than %d members", most)}
		}
		if hdr.Typeflag == tar.TypeReg && path.Clean(hdr.Name) == InfoName {
			data, err := io.ReadAll(io.LimitReader(tr, MaxInfoBytes+1))
			if err != nil {
				return StagingInfo{}, fmt.Errorf("read droplet: %w", err)
			}
			return ParseInfo(data)
		}
	}
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
	return info, nil
}

// parseDocument returns the top-level map. Behind the known keys stand strings, maps, or nil for all else.
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
	for _, key := range []string{keyPath, keyDetected, keyCommand, keyProcfile, keyError} {
		if node := nodes[key]; node != nil {
			doc[key] = fromNode(node, 3)
		}
	}
	return doc, nil
}

// fromNode turns a node into a string or a map of strings, without regard to tags. The nodes are read one by one
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
