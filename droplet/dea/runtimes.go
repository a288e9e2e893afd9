package dea

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging/framework/runtimes"
)

// Runtimes returns what finds the programs for droplets from before there were buildpacks (instance.Config.Runtime): those that
// a container has. Each start runs the checks of the runtime that it asks for, in the container of the instance.
//
// A strict one offers what the catalogue names, in the version that it asks for, as the first-generation DEA did; runtimes
// without a version_output are not offered. Else a name that the catalogue knows under another one is taken, and another version
// is a warning in the log.
func Runtimes(catalogue runtimes.Catalogue, strict bool) instance.FindRuntime {
	return func(ctx context.Context, c container.Container, asked json.RawMessage) (instance.Runtime, error) {
		wanted, err := wantedRuntime(asked)
		if err != nil {
			return instance.Runtime{}, err
		}
		resolver := runtimes.Resolver{System: runtimes.Container{Container: c}, Catalogue: catalogue, Strict: strict}
		found, err := resolver.Resolve(ctx, wanted)
		if err != nil {
			return instance.Runtime{}, err
		}
		runtime := instance.Runtime{Name: found.Name, Executable: found.Executable, Warnings: found.Warnings}
		for _, name := range slices.Sorted(maps.Keys(found.Environment)) {
			runtime.Env = append(runtime.Env, messaging.EnvVar{Name: name, Value: found.Environment[name]})
		}
		return runtime, nil
	}
}

// wantedRuntime reads a runtime_info, or a name.
func wantedRuntime(asked json.RawMessage) (runtimes.Runtime, error) {
	var name string
	if json.Unmarshal(asked, &name) == nil {
		return runtimes.Runtime{Name: name}, nil
	}
	return runtimes.Parse(asked)
}
