package framework

import (
	"cmp"
	"context"
	"fmt"

	"github.com/deakit/deakit/internal/containerfs"
	"github.com/deakit/deakit/staging/buildpack"
)

// WrapBuildpack returns a buildpack whose droplets a first-generation DEA can start: that is what the framework called
// buildpack was. The user's command (Properties.Command) wins over the process type web of the Procfile and of the
// buildpack; with none, releasing fails.
func WrapBuildpack(inner buildpack.Buildpack, properties Properties) buildpack.Buildpack {
	return &wrapped{inner, properties}
}

type wrapped struct {
	buildpack.Buildpack
	properties Properties
}

// profileHook runs the scripts that buildpacks leave for the start.
const profileHook = `unset GEM_PATH
if [ -d app/.profile.d ]; then
  for i in app/.profile.d/*.sh; do
    if [ -r $i ]; then
      . $i
    fi
  done
  unset i
fi
env > logs/env.log`

// Release implements [buildpack.Buildpack]. It writes startup and stop into the droplet.
func (w *wrapped) Release(ctx context.Context, b buildpack.Build) (buildpack.Release, error) {
	if w.properties.Command != "" {
		b.StartCommand = w.properties.Command
	}
	release, err := w.Buildpack.Release(ctx, b)
	if err != nil {
		return release, err
	}
	command := cmp.Or(b.StartCommand, release.ProcessTypes["web"], release.StartCommand)
	if command == "" {
		return release, &buildpack.ScriptError{
			Script: "bin/release", Err: wrong("Please specify a web start command in your manifest.yml or Procfile"),
		}
	}
	memory := cmp.Or(w.properties.Resources.MemoryMB, 512)
	startup := Startup{
		Format: F5,
		Env: map[string]string{
			"HOME": "$PWD/app", "PORT": "$VCAP_APP_PORT", "MEMORY_LIMIT": fmt.Sprintf("%dm", memory),
		},
		Hook:    profileHook,
		Command: command,
	}
	scripts := []containerfs.File{
		containerfs.Text("startup", []byte(startup.String())), containerfs.Text("stop", []byte(stopScript(stopChildren))),
	}
	for i := range scripts {
		scripts[i].Mode = 0o500
	}
	return release, containerfs.WriteFiles(ctx, b.Container, b.Root, scripts...)
}
