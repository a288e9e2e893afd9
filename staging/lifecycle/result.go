package lifecycle

import (
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"slices"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/staging/buildpack"
)

// A result is result.json, with its keys in the order of the original.
type result struct {
	Metadata struct {
		Key        string     `json:"buildpack_key,omitempty"` // of the last buildpack
		Detected   string     `json:"detected_buildpack"`
		Buildpacks []metadata `json:"buildpacks"`
	} `json:"lifecycle_metadata"`
	ProcessTypes  map[string]string `json:"process_types"` // null when the build failed
	Processes     []process         `json:"processes,omitempty"`
	Sidecars      []droplet.Sidecar `json:"sidecars,omitempty"`
	Execution     string            `json:"execution_metadata"`
	LifecycleType string            `json:"lifecycle_type"`
}

// metadata is what is known of a buildpack.
type metadata struct {
	Key     string         `json:"key"`
	Name    string         `json:"name"`
	Version string         `json:"version,omitempty"`
	Config  *config        `json:"config,omitempty"`
	Output  map[string]any `json:"output_metadata,omitempty"`
}

type config struct {
	EntrypointPrefix string `json:"entrypoint_prefix,omitempty"`
}

type process struct {
	Type    string `json:"type"`
	Command string `json:"command"`
}

// newResult tells of the buildpacks. What bin/detect printed is the name of one that does not tell its own.
func newResult(configs []buildpack.MemberConfig, detected string) result {
	r := result{LifecycleType: "buildpack"}
	r.Metadata.Buildpacks = []metadata{}
	for _, c := range configs {
		m := metadata{Key: c.Key, Name: cmp.Or(c.Name, detected), Version: c.Version, Output: c.OutputMetadata}
		if c.EntrypointPrefix != "" {
			m.Config = &config{c.EntrypointPrefix}
		}
		r.Metadata.Buildpacks = append(r.Metadata.Buildpacks, m)
	}
	last := r.last()
	r.Metadata.Key, r.Metadata.Detected = last.Key, last.Name
	return r
}

func (r *result) last() (m metadata) {
	if n := len(r.Metadata.Buildpacks); n > 0 {
		m = r.Metadata.Buildpacks[n-1]
	}
	return m
}

// tell adds the processes, sorted by type.
func (r *result) tell(release buildpack.Release) {
	r.ProcessTypes, r.Sidecars = release.ProcessTypes, release.Sidecars
	for _, kind := range slices.Sorted(maps.Keys(release.ProcessTypes)) {
		r.Processes = append(r.Processes, process{kind, release.ProcessTypes[kind]})
	}
}

// stagingInfo is the content of staging_info.yml: JSON, which is YAML (buildpackapplifecycle since 2016).
func (r *result) stagingInfo() ([]byte, error) {
	text, err := json.Marshal(struct {
		Detected string  `json:"detected_buildpack"`
		Command  string  `json:"start_command"`
		Config   *config `json:"config,omitempty"`
	}{r.Metadata.Detected, r.ProcessTypes["web"], r.last().Config})
	return append(text, '\n'), err
}

func (b *builder) writeResult(r result) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(b.OutputMetadata, append(text, '\n'), 0o644)
}
