package buildpack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/deakit/deakit/droplet"
)

// Release merges what members tell in launch.yml, in their order, what bin/release of the last one tells if that has no
// launch.yml, and the Procfile; of each process type the last one told counts. A process that is a sidecar is none of the
// process types, and the Procfile does not make it one. Name and prefix are those that the last member tells in its
// config.yml (buildpackapplifecycle).
//
// It fails with ErrProcfile, and with a [*ScriptError] in a [*MemberError] for bin/release and for a launch.yml that
// cannot be used. An empty Procfile is none.
func (m *Multi) Release(ctx context.Context, b Build) (Release, error) {
	if m.group != nil {
		return m.group.Release(ctx, b)
	}
	configs, err := m.Configs(ctx, b)
	if err != nil {
		return Release{}, err
	}
	release, err := m.processes(ctx, b)
	if err != nil {
		return Release{}, err
	}
	data, err := procfile(ctx, b)
	if err != nil {
		return Release{}, err
	}
	if data != nil && !isEmptyYAML(data) {
		types, err := ParseProcfile(data)
		if err != nil {
			return Release{}, err
		}
		maps.Copy(release.ProcessTypes, types)
	}
	last := configs[len(configs)-1]
	release.Name, release.EntrypointPrefix = last.Name, last.EntrypointPrefix
	if len(configs) > 1 || last.Name != "" {
		for _, c := range configs {
			release.Buildpacks = append(release.Buildpacks, droplet.BuildpackInfo{Key: c.Key, Name: c.Name, Version: c.Version})
		}
	}
	return release, nil
}

// processes returns what the members tell, apart by what is a sidecar.
func (m *Multi) processes(ctx context.Context, b Build) (Release, error) {
	merged := map[string]launchProcess{}
	last := len(m.members) - 1
	var found bool // a launch.yml, in the end that of the last member
	for i := range m.members {
		var processes []launchProcess
		var err error
		processes, found, err = m.launch(ctx, b, i)
		if err != nil {
			return Release{}, m.failure(i, err)
		}
		for _, p := range processes {
			merged[p.kind] = p
		}
	}
	if !found {
		types, err := m.programs(last).release(ctx, b)
		if err != nil {
			return Release{}, m.failure(last, err)
		}
		for kind, command := range types {
			merged[kind] = launchProcess{kind: kind, command: command}
		}
	}
	release := Release{ProcessTypes: map[string]string{}}
	for _, kind := range slices.Sorted(maps.Keys(merged)) {
		if p := merged[kind]; len(p.sidecarFor) > 0 {
			release.Sidecars = append(release.Sidecars, droplet.Sidecar{
				Name: kind, ProcessTypes: p.sidecarFor, Command: p.command, MemoryMB: p.memoryMB,
			})
		} else {
			release.ProcessTypes[kind] = p.command
		}
	}
	return release, nil
}

// A launchProcess is a process of launch.yml.
type launchProcess struct {
	kind, command string
	sidecarFor    []string // process types
	memoryMB      int64    // 0 when nobody told
}

// launch reads launch.yml of a member, in the directory that it was given, and tells whether there is one.
func (m *Multi) launch(ctx context.Context, b Build, i int) (processes []launchProcess, found bool, err error) {
	const name = "launch.yml"
	top, err := m.depsFile(ctx, b, i, name)
	if err == nil && top != nil {
		processes, err = parseLaunch(top)
		if err != nil {
			err = &depsFileError{m.index(i), name, err}
		}
	}
	var bad *depsFileError
	if errors.As(err, &bad) {
		return nil, true, &ScriptError{Script: script("supply"), Err: bad}
	}
	return processes, top != nil, err
}

// parseLaunch reads the processes of launch.yml. One without type or command is left out.
func parseLaunch(top *yaml.Node) ([]launchProcess, error) {
	list := entries(top)["processes"]
	switch {
	case list == nil || list.ShortTag() == "!!null":
		return nil, nil
	case list.Kind != yaml.SequenceNode:
		return nil, errors.New("processes is no list")
	}
	var processes []launchProcess
	for _, element := range list.Content {
		if element.Kind != yaml.MappingNode {
			return nil, errors.New("a process is no map")
		}
		p, err := parseProcess(entries(element))
		if err != nil {
			return nil, fmt.Errorf("process %.60q: %w", p.kind, err)
		}
		if p.kind != "" && p.command != "" {
			processes = append(processes, p)
		}
	}
	return processes, nil
}

func parseProcess(values map[string]*yaml.Node) (launchProcess, error) {
	p := launchProcess{kind: scalar(values["type"]), command: scalar(values["command"])}
	sidecarFor := child(child(values["platforms"], "cloudfoundry"), "sidecar_for")
	if sidecarFor != nil && sidecarFor.ShortTag() != "!!null" {
		if sidecarFor.Kind != yaml.SequenceNode {
			return p, errors.New("platforms.cloudfoundry.sidecar_for is no list")
		}
		for _, kind := range sidecarFor.Content {
			if text := scalar(kind); text != "" {
				p.sidecarFor = append(p.sidecarFor, text)
			}
		}
	}
	if memory := scalar(child(values["limits"], "memory")); memory != "" {
		mb, err := strconv.ParseInt(memory, 10, 32)
		if err != nil || mb < 0 {
			return p, fmt.Errorf("limits.memory %.60q is no number of megabytes", memory)
		}
		p.memoryMB = mb
	}
	return p, nil
}

// child returns the value of a key of a map; nil where there is none.
func child(node *yaml.Node, key string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	return entries(node)[key]
}
