package controller

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging/framework"
)

// What has to do with apps that are staged as before there were buildpacks.

// standalone is the framework of apps that are started by a command of their own.
const standalone = "standalone"

// checkFramework is the part of check for framework and runtime.
func (s Settings) checkFramework() error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrSettings, fmt.Errorf(format, args...))
	}
	_, err := framework.Find(s.Framework)
	leaves := errors.Is(err, framework.ErrBuildpack) // the work to a buildpack, whose command can be another
	switch {
	case s.Framework == "" && s.Runtime != "":
		return wrong("a runtime is chosen for apps that a framework stages only")
	case s.Framework == "":
		return nil
	case err != nil && !leaves:
		return wrong("%w", err)
	case s.Buildpack != "" && !leaves:
		return wrong("framework %s and a buildpack cannot both stage the app; the word default takes one away", s.Framework)
	case s.Framework == standalone && (s.Command == "" || s.Runtime == ""):
		return wrong("framework standalone needs a command and a runtime")
	case s.Command != "" && s.Framework != standalone && !leaves:
		return wrong("framework %s finds the command of the app by itself; the word default takes one away", s.Framework)
	}
	return nil
}

// describe adds framework and runtime to what a stager is told.
func (s Settings) describe(p *messaging.StagingProperties) {
	if s.Framework == "" {
		return
	}
	p.Framework, p.Runtime = quoted(s.Framework), s.wantedRuntime()
	limits := s.limits()
	p.Resources = &messaging.StagingResources{
		Memory: messaging.Int(limits.Mem), Disk: messaging.Int(limits.Disk), FDs: messaging.Int(limits.FDs),
	}
}

// runtime is the one that was chosen, or the first one of the framework.
func (s Settings) runtime() string {
	return cmp.Or(s.Runtime, framework.DefaultRuntime(s.Framework))
}

// startCommand is what DEAs are told to run, empty where the droplet knows. That of a standalone app is in its droplet, which
// does more before.
func (s Settings) startCommand() string {
	if s.Framework == standalone {
		return ""
	}
	return s.Command
}

// wantedRuntime is what DEAs are told of the runtime; nil where buildpacks have brought it.
func (s Settings) wantedRuntime() json.RawMessage {
	if name := s.runtime(); s.Framework != "" && name != "" {
		return quoted(name)
	}
	return nil
}
