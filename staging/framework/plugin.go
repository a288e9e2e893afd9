package framework

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Plugin knows the apps of one framework.
type Plugin interface {
	// Name is what requests call the framework: "java_web".
	Name() string

	// Stage fills the droplet and tells how the app is started. It works with the files of the Tree alone; programs that are
	// needed, it asks for with Tree.Run. What is wrong with the app is an [*AppError].
	Stage(ctx context.Context, t *Tree) (Scripts, error)
}

// Scripts tell how an app is started and stopped.
type Scripts struct {
	Startup Startup
	// Stop is the body of the stop script, which gets the pid of the app as its first argument. Empty takes the default: it
	// kills the app, and the startup script that waits for it.
	Stop string
}

// The errors of Find.
var (
	// ErrUnknown: there is no plugin of this name.
	ErrUnknown = errors.New("unknown framework")
	// ErrBuildpack: the framework is the one called buildpack, which is no Plugin: see [WrapBuildpack].
	ErrBuildpack = errors.New("the framework leaves the work to buildpacks")
)

// BuildpackName is what requests call the framework that leaves the work to buildpacks.
const BuildpackName = "buildpack"

// Plugins returns the plugins of this package, in the order of Manifests.
func Plugins() []Plugin {
	return []Plugin{
		sinatra{}, rack{}, rails3{}, node{}, javaWeb{}, spring{}, grails{}, lift{}, play{}, php{}, wsgi{}, django{}, otpRebar{},
		standalone{},
	}
}

// Find returns the plugin of a name among plugins; with none, among those of this package. It fails with ErrUnknown and
// ErrBuildpack.
func Find(name string, plugins ...Plugin) (Plugin, error) {
	if len(plugins) == 0 {
		plugins = Plugins()
	}
	for _, p := range plugins {
		if p.Name() == name {
			return p, nil
		}
	}
	if name == BuildpackName {
		return nil, fmt.Errorf("framework %s: %w", name, ErrBuildpack)
	}
	if lower := strings.ToLower(name); lower != name && plainName.MatchString(lower) {
		return nil, fmt.Errorf("%w: %.60q; names are in lower case", ErrUnknown, name)
	}
	if !plainName.MatchString(name) {
		return nil, fmt.Errorf("%w: %.60q is no name", ErrUnknown, name)
	}
	names := []string{BuildpackName}
	for _, p := range plugins {
		names = append(names, p.Name())
	}
	slices.Sort(names)
	return nil, fmt.Errorf("%w: %.60q; there are %v", ErrUnknown, name, names)
}

var plainName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// An AppError tells what is wrong with an app, in the words of the original where that has any. It is for the app's owner.
type AppError struct {
	Text string
	Err  error // the cause, if there is another one; not part of the text
}

func (e *AppError) Error() string { return e.Text }

// Unwrap returns Err.
func (e *AppError) Unwrap() error { return e.Err }

// wrong makes an AppError.
func wrong(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &AppError{Text: err.Error(), Err: errors.Unwrap(err)}
}
