package buildpack

import (
	"context"
	"fmt"
	"io"
	"path"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet"
)

// StagedRoot becomes the droplet with most kinds of buildpack (dea_ng).
const StagedRoot = "/tmp/staged"

// A Buildpack turns the source of an app into something that runs. Kinds that consist of several buildpacks, such as
// those with a supply step, are one Buildpack too: the members detect, compile and release together.
//
// The methods are called in the order below, at most once each for one Build, and not from several goroutines at once.
// When ctx ends, they end what they have started as far as the container lets them, and return its error.
type Buildpack interface {
	// Key names an admin buildpack; it is empty for others.
	Key() string

	// Path is where the buildpack stands, as staging_info.yml tells it.
	Path() string

	// Mounts are the directories of the host that the container must show. They exist when Mounts is called.
	Mounts() []container.BindMount

	// Root is the directory of the container that becomes the droplet; the app is in its directory app. It is one that the
	// app user may write: StagedRoot, or the home of the app user for kinds that write down paths which must still be right
	// when the app runs. A kind that knows it only after Prepare says StagedRoot before.
	Root() string

	// Prepare gets what is missing of the buildpack's files. It may download.
	Prepare(ctx context.Context, b Build) error

	// Detect tells whether the buildpack is for this app, and what it calls itself then.
	Detect(ctx context.Context, b Build) (name string, ok bool, err error)

	// Compile changes the app into what will run, in place, and may add directories to the root.
	Compile(ctx context.Context, b Build) error

	// Release tells how to start the app. The kinds read the Procfile here if they care for one, since a buildpack may have
	// made it.
	Release(ctx context.Context, b Build) (Release, error)
}

// A Build is one app on its way through a buildpack.
type Build struct {
	Container container.Container
	Info      container.Info // of Container

	Root     string // path of the container that becomes the droplet, and in which programs of the older kinds start
	AppDir   string // path of the container that holds the app: app in Root
	CacheDir string // path of the container that is kept from one staging of the app to the next

	// Env is the environment of the buildpack's programs, in the form NAME=value. User has those of its entries that the user
	// set, for kinds that hand these over in another way.
	Env  []string
	User []string

	// StartCommand is the user's, if there is one: it needs no other for the process type web.
	StartCommand string

	// Log gets what people should read: the output of the programs. It must not fail. Stderr gets what they write to their
	// standard error, and warnings; nil means Log, which then has both in the order in which they were written.
	Log    io.Writer
	Stderr io.Writer
}

// stderr is where warnings go.
func (b Build) stderr() io.Writer {
	if b.Stderr != nil {
		return b.Stderr
	}
	return b.Log
}

// inside returns the names by which programs of the container know paths of the container.
func (b Build) inside(paths ...string) []string {
	names := make([]string, len(paths))
	for i, p := range paths {
		names[i] = b.Info.Inside(p)
	}
	return names
}

// Release is what a buildpack tells about running the app.
type Release struct {
	// ProcessTypes maps process types to commands for a shell in the directory of the app: "web" is the one that is
	// started. It may be nil.
	ProcessTypes map[string]string

	// StartCommand is the command of the process type web, where ProcessTypes has none.
	StartCommand string

	// Name replaces what Detect returned, where a buildpack tells its name only when it has done its work.
	Name string

	EntrypointPrefix string                  // a program that runs the start command
	Buildpacks       []droplet.BuildpackInfo // those that took part, in their order; nil means the one alone
	Sidecars         []droplet.Sidecar
}

// A ScriptError tells that a program of a buildpack failed.
type ScriptError struct {
	Script string               // "bin/compile"
	Status container.ExitStatus // what it ended with; 0 when its output was not understood or it could not be started
	Output string               // of bin/release, at most 64 KiB
	Err    error                // why, where Status does not tell
}

func (e *ScriptError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Script, e.Err)
	}
	return fmt.Sprintf("%s exited with status %d", e.Script, e.Status)
}

// Unwrap returns Err.
func (e *ScriptError) Unwrap() error { return e.Err }

func script(name string) string { return path.Join("bin", name) }
