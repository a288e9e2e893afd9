package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/deakit/deakit/internal/rmtree"
	"github.com/deakit/deakit/staging/buildpack"
)

// What the builder says when something fails (buildpackapplifecycle). Others look for these texts.
const (
	notDetected = "None of the buildpacks detected a compatible application"
	notCompiled = "Failed to compile droplet"
	notReleased = "Failed to build droplet release"
	notSupplied = "Failed to run all supply scripts"
)

// Builder is the program builder: [Build] with the flags of the original, whose defaults are those of
// [DefaultBuilderConfig]. It fails with an [*ExitError], and with flag.ErrHelp where help was asked for.
func Builder(ctx context.Context, p Process) error {
	p = p.withDefaults("builder")
	cfg := DefaultBuilderConfig()
	if err := p.parse(cfg.flags(p.Name), p.Args); err != nil {
		return err
	}
	return Build(ctx, cfg, p)
}

// Build makes a droplet of an app as the builder of buildpackapplifecycle does. Of p it takes all but the arguments: the
// environment becomes that of the buildpacks' programs, which write to its streams.
//
// Besides droplet and cache it writes the result, also when the last buildpack has failed. It fails with an [*ExitError].
// When ctx ends, the program of the buildpack that runs is killed with those of its process group. What buildpacks leave
// running in other groups is for whoever owns the machine or container.
//
// A droplet, a cache and a downloaded buildpack hold at most 4 GiB and 500,000 members each; devices, sockets and FIFOs are
// left out.
func Build(ctx context.Context, cfg BuilderConfig, p Process) error {
	p = p.withDefaults("builder")
	if err := cfg.validate(); err != nil {
		return &ExitError{ExitFailed, err}
	}
	if err := cfg.resolve(p); err != nil {
		return &ExitError{ExitFailed, err}
	}
	env := newEnviron(p.Env)
	uri, err := env.credHubURI()
	if err != nil {
		return fail(ExitEnvironment, "Invalid platform options: %w", err)
	}
	if uri != "" {
		if err := env.interpolate(ctx, uri, cfg.CredHub, p.Stdout); err != nil {
			return fail(ExitCredHub, "Unable to interpolate credhub refs: %w", err)
		}
	}
	env.setDatabaseURL()
	b := &builder{BuilderConfig: cfg, process: p}
	defer b.cleanUp()
	if err := b.setUp(env); err != nil {
		return fail(ExitFailed, "Failed to set up filesystem when generating droplet: %w", err)
	}
	return exitError(b.run(ctx))
}

// exitError gives an error that has none the exit code of all else.
func exitError(err error) error {
	var exit *ExitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	return &ExitError{ExitFailed, err}
}

// resolve makes all paths absolute.
func (c *BuilderConfig) resolve(p Process) error {
	for _, name := range []*string{
		&c.BuildDir, &c.OutputDroplet, &c.OutputMetadata, &c.OutputBuildArtifactsCache, &c.BuildpacksDir,
		&c.BuildpacksDownloadDir, &c.BuildArtifactsCacheDir,
	} {
		var err error
		if *name, err = p.path(*name); err != nil {
			return err
		}
	}
	return nil
}

// A builder is one build under way.
type builder struct {
	BuilderConfig
	process  Process
	host     host
	build    buildpack.Build
	taking   *buildpack.Multi // the buildpacks that take part
	detected string           // what bin/detect printed
}

// setUp makes the directories. The root of the build is a temporary one: all that becomes the droplet but the app.
func (b *builder) setUp(env environ) error {
	for _, dir := range []string{
		filepath.Dir(b.OutputDroplet), filepath.Dir(b.OutputMetadata), filepath.Dir(b.OutputBuildArtifactsCache),
		b.BuildArtifactsCacheDir,
	} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	contents, err := os.MkdirTemp("", "contents")
	if err != nil {
		return err
	}
	// From here on, a link in place of a directory is the work of a buildpack, and is not followed.
	for _, dir := range []*string{&b.BuildDir, &b.BuildArtifactsCacheDir, &contents} {
		resolved, failed := filepath.EvalSymlinks(*dir)
		if failed != nil {
			return errors.Join(failed, os.RemoveAll(contents))
		}
		*dir = resolved
	}
	b.build = buildpack.Build{
		Container: &b.host, Root: contents, AppDir: b.BuildDir, CacheDir: b.BuildArtifactsCacheDir,
		Env: env, Log: b.process.Stdout, Stderr: b.process.Stderr,
	}
	for _, dir := range []string{"tmp", "logs"} {
		err = errors.Join(err, os.Mkdir(filepath.Join(contents, dir), 0o755))
	}
	return err
}

// cleanUp removes what nobody asked for, and waits for all that was started.
func (b *builder) cleanUp() {
	b.host.running.Wait()
	if b.build.Root == "" {
		return
	}
	if err := rmtree.Path(b.build.Root); err != nil { // the build is none the worse for it
		fmt.Fprintf(b.process.Stderr, "Failed to remove %s: %v\n", b.build.Root, err)
	}
}

func (b *builder) run(ctx context.Context) error {
	if err := b.download(ctx); err != nil {
		return err
	}
	if err := b.choose(ctx); err != nil {
		return err
	}
	res, err := b.compile(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var exit *ExitError
	if errors.As(err, &exit) && exit.Code == ExitNotSupplied {
		return err
	}
	// Also when the last buildpack failed: the result has what is known of the buildpacks then.
	if unwritten := b.writeResult(res); unwritten != nil && err == nil {
		return unwritten
	}
	if err != nil {
		return err
	}
	return b.pack(ctx, res)
}

// compile runs the buildpacks and finds out what they tell. Also when it fails, the result has what is known of them.
func (b *builder) compile(ctx context.Context) (result, error) {
	err := compileError(b.taking.Compile(ctx, b.build))
	quiet := b.build
	quiet.Stderr = io.Discard // Release complains of the same
	configs, unread := b.taking.Configs(ctx, quiet)
	if unread != nil {
		return newResult(nil, ""), errors.Join(err, unread)
	}
	res := newResult(configs, b.detected)
	if err != nil {
		return res, err
	}
	release, err := b.taking.Release(ctx, b.build)
	if err != nil {
		return res, releaseError(err)
	}
	res.tell(release)
	if release.ProcessTypes["web"] == "" {
		fmt.Fprintln(b.process.Stderr, "No start command specified by buildpack or via Procfile.")
		fmt.Fprintln(b.process.Stderr, "App will not start unless a command is provided at runtime.")
	}
	return res, nil
}

// compileError gives the failure of a buildpack its exit code.
func compileError(err error) error {
	var member *buildpack.MemberError
	switch {
	case !errors.As(err, &member):
		return err
	case member.Final():
		return fail(ExitNotCompiled, "%s: %w", notCompiled, err)
	}
	return fail(ExitNotSupplied, "%s: %w", notSupplied, err)
}

// releaseError gives the failure of a bin/release its exit code; a launch.yml or Procfile that cannot be used has none.
func releaseError(err error) error {
	var script *buildpack.ScriptError
	switch {
	case errors.Is(err, buildpack.ErrProcfile):
		why := strings.TrimPrefix(err.Error(), buildpack.ErrProcfile.Error()+": ")
		return fail(ExitFailed, "Failed to read command from Procfile: invalid YAML: %s", why)
	case errors.As(err, &script) && script.Script == "bin/release":
		return fail(ExitNotReleased, "%s: %w", notReleased, err)
	}
	return err
}
