package main

import (
	"cmp"
	"encoding/json"
	"errors"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/droplet/dea"
	"github.com/deakit/deakit/droplet/instance"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging/framework"
	"github.com/deakit/deakit/staging/framework/runtimes"
)

// Droplets of the time before buildpacks leave open where the runtime of the app is; whoever runs them finds that.

// frameworkOf is the framework whose plugin made a droplet; empty where that was a buildpack, or nobody says.
func frameworkOf(info *droplet.StagingInfo) string {
	if info == nil || info.StartCommand != framework.StartCommand {
		return ""
	}
	return info.DetectedBuildpack
}

// useRuntime has the instance look for the runtime that is named, or else is the default of the framework.
func useRuntime(name string, info *droplet.StagingInfo, m *messaging.StartMessage, cfg *instance.Config) {
	cfg.Runtime = dea.Runtimes(runtimes.Today(), false)
	if name = cmp.Or(name, framework.DefaultRuntime(frameworkOf(info))); name != "" {
		m.Runtime, _ = json.Marshal(name) // texts are always JSON
	}
}

// withoutRuntime completes the error of an app that nothing could be found for.
func withoutRuntime(err *codedError, cause *instance.RuntimeError) {
	err.err, err.remedy = cause, "to take another runtime: --runtime; it must be where the app runs"
	if errors.Is(cause, instance.ErrRuntimeUntold) {
		err.err = errors.New("its startup script leaves open what runs the app, and nothing tells of which framework it is")
		err.remedy = "name a runtime: --runtime ruby18, for example"
	}
}
