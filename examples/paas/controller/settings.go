package controller

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Default, as a command, a buildpack, a framework, a runtime or the only route, goes back to what an app has that was never given one.
const Default = "default"

// Settings are what people say of an app. In a push, what is left out stays as it is.
type Settings struct {
	Name      string `json:"name"`
	Instances int    `json:"instances"` // 1 for a new app
	MemoryMB  int64  `json:"memory_mb"` // of each instance; 128 for a new app
	DiskMB    int64  `json:"disk_mb"`   // of each instance; 512 for a new app

	// Env has elements NAME=value. In a push they are added to those that the app has; NAME alone removes one.
	Env []string `json:"env,omitempty"`

	Routes  []string `json:"routes,omitempty"`  // empty: one, <name>.<domain>
	Command string   `json:"command,omitempty"` // empty: that of the droplet

	// Buildpack is the key of an uploaded one, or a git URL; empty tries all.
	Buildpack string `json:"buildpack,omitempty"`

	// Framework has the app staged by the plugin of this name, as before there were buildpacks; empty means by buildpacks.
	// Runtime is what runs it then, as "ruby19"; empty: the first one of the framework.
	Framework string `json:"framework,omitempty"`
	Runtime   string `json:"runtime,omitempty"`
}

// over completes what a push says by what held before; nothing did for a new app.
func (s Settings) over(before Settings) Settings {
	s.Instances = cmp.Or(s.Instances, before.Instances, 1)
	s.MemoryMB = cmp.Or(s.MemoryMB, before.MemoryMB, 128)
	s.DiskMB = cmp.Or(s.DiskMB, before.DiskMB, 512)
	s.Env = mergeEnv(before.Env, s.Env)
	s.Command = keep(s.Command, before.Command)
	s.Buildpack = keep(s.Buildpack, before.Buildpack)
	s.Framework = keep(s.Framework, before.Framework)
	s.Runtime = keep(s.Runtime, before.Runtime)
	switch {
	case len(s.Routes) == 0:
		s.Routes = before.Routes
	case len(s.Routes) == 1 && s.Routes[0] == Default:
		s.Routes = nil
	}
	return s
}

func keep(said, before string) string {
	switch said {
	case "":
		return before
	case Default:
		return ""
	default:
		return said
	}
}

// mergeEnv returns a new environment; the order of names stays.
func mergeEnv(before, said []string) []string {
	env := slices.Clone(before)
	for _, variable := range said {
		name, _, set := strings.Cut(variable, "=")
		at := slices.IndexFunc(env, func(s string) bool { return strings.HasPrefix(s, name+"=") })
		switch {
		case set && at >= 0:
			env[at] = variable
		case set:
			env = append(env, variable)
		case at >= 0:
			env = slices.Delete(env, at, at+1)
		}
	}
	return env
}

// check is for what over returned.
func (s Settings) check() error {
	switch {
	case !validName(s.Name):
		return fmt.Errorf("%w: the name must be 1 to 63 lower-case letters, digits and dashes", ErrSettings)
	case s.Instances < 1 || s.Instances > 100:
		return fmt.Errorf("%w: instances must be from 1 to 100", ErrSettings)
	case s.MemoryMB < 8 || s.MemoryMB > 1<<20 || s.DiskMB < 8 || s.DiskMB > 1<<24:
		return fmt.Errorf("%w: memory must be from 8 MB to 1 TB, disk from 8 MB to 16 TB", ErrSettings)
	case slices.ContainsFunc(s.Env, func(v string) bool { return strings.HasPrefix(v, "=") }):
		return fmt.Errorf("%w: environment variables are of the form NAME=value", ErrSettings)
	}
	return s.checkFramework()
}

func validName(name string) bool {
	if len(name) == 0 || len(name) > 63 || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	for _, r := range name {
		if r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return true
}
