package framework

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/containerexec"
	"github.com/deakit/deakit/internal/containerfs"
	"github.com/deakit/deakit/internal/rmtree"
	"github.com/deakit/deakit/internal/tarball"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/framework/runtimes"
)

// BuildpackOptions say how a plugin serves as a buildpack. The zero value is useful.
type BuildpackOptions struct {
	Options // Log has no effect: what people should read goes to the log of the staging

	// Catalogue and Strict are those of a [runtimes.Resolver] that looks into the container; without a catalogue it is
	// runtimes.Today.
	Catalogue runtimes.Catalogue
	Strict    bool

	// Unbound leaves the placeholder in the startup script, for a first-generation DEA, which puts the path of its own runtime
	// there, so that one which is not installed here matters to what runs while staging alone, unless Strict is set. Else it is
	// the path that the executable has in the staging container.
	Unbound bool

	// TempDir is where apps are unpacked for a while; default os.TempDir.
	TempDir string
}

// Buildpack serves a [Plugin] as a buildpack: the plugin's work is done on a copy of the app outside of the container, and the
// droplet streamed back into it; programs that the plugin asks for run in the container. It needs sh, rm and the runtime there.
//
// The droplet is one of the first generation, with startup and stop in its root. So that a DEA of today runs it too, the
// start command of the release calls startup as a first-generation DEA does.
type Buildpack struct {
	plugin     Plugin
	properties Properties
	opts       BuildpackOptions
}

var _ buildpack.Buildpack = (*Buildpack)(nil)

// NewBuildpack returns a plugin as a buildpack for one app.
func NewBuildpack(plugin Plugin, properties Properties, opts BuildpackOptions) *Buildpack {
	if opts.Catalogue == nil {
		opts.Catalogue = runtimes.Today()
	}
	return &Buildpack{plugin, properties, opts}
}

// StartCommand starts a droplet of the first generation where apps are started by a command in the directory of the app: with
// the droplet as its home, and the port as an argument.
const StartCommand = `cd .. && HOME="$PWD" exec ./startup ${VCAP_APP_PORT:+-p "$VCAP_APP_PORT"}`

// Key implements [buildpack.Buildpack]: the name of the framework.
func (b *Buildpack) Key() string { return b.plugin.Name() }

// Path implements [buildpack.Buildpack]. A plugin stands nowhere.
func (b *Buildpack) Path() string { return "framework/" + b.plugin.Name() }

// Mounts implements [buildpack.Buildpack]. There are none.
func (b *Buildpack) Mounts() []container.BindMount { return nil }

// Root implements [buildpack.Buildpack].
func (b *Buildpack) Root() string { return buildpack.StagedRoot }

// Prepare implements [buildpack.Buildpack]. There is nothing to do.
func (b *Buildpack) Prepare(context.Context, buildpack.Build) error { return nil }

// Detect implements [buildpack.Buildpack] with the detection rules of the properties, else those of the framework's manifest.
func (b *Buildpack) Detect(ctx context.Context, build buildpack.Build) (name string, ok bool, err error) {
	rules := b.properties.Detection
	if len(rules) == 0 {
		rules = rulesOf(b.plugin.Name())
	}
	if len(rules) == 0 {
		return "", false, nil
	}
	err = b.withApp(ctx, build, func(dir string) error {
		app, err := os.OpenRoot(filepath.Join(dir, "source"))
		if err != nil {
			return err
		}
		defer app.Close()
		ok, err = rules.Match(endingFS{ctx, app.FS()})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	})
	if err != nil || !ok {
		return "", false, err
	}
	return b.plugin.Name(), true, nil
}

// Compile implements [buildpack.Buildpack]. It fails with a [*buildpack.ScriptError], which wraps an [*AppError] where the app
// is to blame.
func (b *Buildpack) Compile(ctx context.Context, build buildpack.Build) error {
	properties := b.properties
	if properties.Command == "" {
		properties.Command = build.StartCommand
	}
	resolver := runtimes.Resolver{System: runtimes.Container{Container: build.Container, Env: build.Env}, Catalogue: b.opts.Catalogue, Strict: b.opts.Strict}
	resolved, err := resolver.Resolve(ctx, properties.Runtime)
	missing := err
	if b.opts.Unbound && !b.opts.Strict && errors.Is(err, runtimes.ErrNotInstalled) { // it is the DEA that needs it
		resolved, err = runtimes.Resolved{Runtime: properties.Runtime}, nil
		fmt.Fprintf(build.Log, "The app can be staged, and needs a runtime that is not here: %v.\n", missing)
	}
	if err != nil {
		return b.failure(ctx, err)
	}
	for _, warning := range resolved.Warnings {
		fmt.Fprintln(build.Log, warning)
	}
	properties.Runtime = resolved.Runtime
	if resolved.Found != "" { // directories are named after the version that is there
		properties.Runtime.Version = resolved.Found
	}
	var result Result
	err = b.withApp(ctx, build, func(dir string) error {
		opts := b.opts.Options
		opts.Log = build.Log
		task := Task{Source: filepath.Join(dir, "source"), Dest: filepath.Join(dir, "droplet"), Properties: properties}
		if err := os.Mkdir(task.Dest, 0o700); err != nil {
			return err
		}
		if result, err = Stage(ctx, b.plugin, task, opts); err != nil {
			return err
		}
		if !b.opts.Unbound {
			if err := Bind(task.Dest, resolved.Executable); err != nil {
				return err
			}
		}
		return b.replaceApp(ctx, build, task.Dest)
	})
	if err != nil {
		return b.failure(ctx, err)
	}
	if missing != nil && len(result.Programs) > 0 {
		return b.failure(ctx, missing)
	}
	return b.run(ctx, build, result.Programs, resolved.Executable)
}

// failure makes a ScriptError of what is the matter with the app or its runtime.
func (b *Buildpack) failure(ctx context.Context, err error) error {
	var wrong *AppError
	missing := errors.Is(err, runtimes.ErrNotInstalled) || errors.Is(err, runtimes.ErrCheck) || errors.Is(err, runtimes.ErrUnknown)
	if ctx.Err() != nil || !missing && !errors.As(err, &wrong) {
		return err
	}
	return &buildpack.ScriptError{Script: b.Path(), Err: err}
}

// withApp calls do with a directory of the host whose directory source is a copy of the app. It is removed then.
func (b *Buildpack) withApp(ctx context.Context, build buildpack.Build, do func(dir string) error) (err error) {
	dir, err := os.MkdirTemp(b.opts.TempDir, "framework-")
	if err != nil {
		return fmt.Errorf("framework %s: %w", b.plugin.Name(), err)
	}
	defer func() { err = errors.Join(err, rmtree.Path(dir)) }()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	stream, err := build.Container.StreamOut(ctx, build.AppDir+"/")
	if err != nil {
		return err
	}
	defer stream.Close()
	opts := tarball.ExtractOptions{Limits: b.opts.limits(), AbsoluteLinks: true}
	if err := tarball.Extract(ctx, root, "source", stream, opts); err != nil {
		return err
	}
	return do(dir)
}

// replaceApp puts a droplet into the container, in the place of the app alone. Of its directories, logs may have others' files.
func (b *Buildpack) replaceApp(ctx context.Context, build buildpack.Build, dir string) error {
	if err := b.shell(ctx, build, "rm -rf "+path.Base(build.AppDir), build.Root); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	// Those of Java have their app elsewhere, but every droplet of a buildpack has this directory, and starts in it.
	if err := root.MkdirAll("app", 0o755); err != nil {
		return err
	}
	return containerfs.Stream(ctx, build.Container, build.Root, func(ctx context.Context, w io.Writer) error {
		return tarball.Write(ctx, w, root, "/", tarball.Options{Limits: b.opts.limits()})
	})
}

// run runs programs in the container.
func (b *Buildpack) run(ctx context.Context, build buildpack.Build, programs []Program, executable string) error {
	for _, p := range programs {
		err := b.shell(ctx, build, runtimes.Bind(p.Script, executable), path.Join(build.Root, p.Dir))
		var failed *buildpack.ScriptError
		if !errors.As(err, &failed) {
			if err != nil {
				return err
			}
			continue
		}
		if p.Failure == "" {
			continue
		}
		failed.Err = &AppError{Text: fmt.Sprintf("%s (exit status %d).", p.Failure, failed.Status), Err: failed.Err}
		return failed
	}
	return nil
}

// shell runs a script in a directory of the container.
func (b *Buildpack) shell(ctx context.Context, build buildpack.Build, script, dir string) error {
	stderr := build.Stderr
	if stderr == nil {
		stderr = build.Log
	}
	spec := container.ProcessSpec{Path: "/bin/sh", Args: []string{"-c", script}, Env: build.Env, Dir: dir}
	status, err := containerexec.Run(ctx, build.Container, spec, container.IO{Stdout: build.Log, Stderr: stderr})
	if err != nil {
		return err
	}
	if status != 0 {
		return &buildpack.ScriptError{Script: b.Path(), Status: status}
	}
	return nil
}

// Release implements [buildpack.Buildpack].
func (b *Buildpack) Release(context.Context, buildpack.Build) (buildpack.Release, error) {
	return buildpack.Release{StartCommand: StartCommand, Name: b.plugin.Name()}, nil
}

// Bind puts the path of a runtime's executable in the place of each placeholder of the startup script in a droplet, as the
// first-generation DEA does before it starts an app. A script without a placeholder stays as it is, and so does stop.
func Bind(dir, executable string) error {
	if !filepath.IsAbs(executable) {
		return fmt.Errorf("bind startup script: %q is no absolute path", executable)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("bind startup script: %w", err)
	}
	defer root.Close()
	t := &Tree{root: root}
	script, there, err := t.Read("startup")
	if err == nil && !there {
		err = os.ErrNotExist
	}
	if err != nil {
		return fmt.Errorf("bind startup script: %w", err)
	}
	bound := runtimes.Bind(string(script), executable)
	if bound == string(script) {
		return nil
	}
	return t.Write("startup", bound, 0o500)
}
