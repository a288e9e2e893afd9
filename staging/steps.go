package staging

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/containerfs"
	"github.com/deakit/deakit/staging/buildpack"
)

// prepare lays out the container and unpacks app and cache.
func (r *run) prepare(ctx context.Context) error {
	env, err := r.Environment.variables(r.Timeout)
	if err != nil {
		return err
	}
	info, err := r.container.Info(ctx)
	if err != nil {
		return err
	}
	r.build = buildpack.Build{
		Container: r.container, Info: info, Log: r.log, Env: env, User: r.Environment.user(),
		CacheDir: CacheDir, StartCommand: r.StartCommand,
	}
	r.setRoot(StagedDir)
	if all := r.all(); len(all) > 0 {
		r.setRoot(all[0].Root())
	}
	if err := containerfs.WriteFiles(ctx, r.container, r.build.Root, layout...); err != nil {
		return err
	}
	if err := containerfs.WriteFiles(ctx, r.container, CacheDir); err != nil {
		return err
	}
	if err := r.supportHeroku(ctx); err != nil {
		return err
	}
	if err := r.unpackApp(ctx); err != nil {
		return err
	}
	return r.unpackCache(ctx)
}

// supportHeroku fills /app: some buildpacks made for Heroku want it to be there and not to be empty (dea_ng). Back ends make
// it a link to the directory of the app in the home of the app user, so nothing is put there where that is in use.
func (r *run) supportHeroku(ctx context.Context) error {
	if r.build.Root != StagedDir {
		return nil
	}
	return containerfs.WriteFiles(ctx, r.container, "/app", containerfs.Text("support_heroku_buildpacks", nil))
}

// layout is what stands in the root.
var layout = []containerfs.File{containerfs.Directory("app"), containerfs.Directory("logs"), containerfs.Directory("tmp")}

func (r *run) setRoot(root string) { r.build.Root, r.build.AppDir = root, path.Join(root, "app") }

// moveTo makes root the directory that becomes the droplet, for a buildpack that wants another one than that before it.
func (r *run) moveTo(ctx context.Context, root string) error {
	from := r.build.AppDir
	if root == r.build.Root {
		return nil
	}
	r.setRoot(root)
	if err := containerfs.WriteFiles(ctx, r.container, root, layout...); err != nil {
		return err
	}
	if err := r.command(ctx, "rm", "-rf", r.build.Info.Inside(r.build.AppDir)); err != nil { // at most what fills /app
		return err
	}
	if err := r.command(ctx, "mv", r.build.Info.Inside(from), r.build.Info.Inside(r.build.AppDir)); err != nil {
		return err
	}
	if err := containerfs.WriteFiles(ctx, r.container, from); err != nil { // which /app may lead to
		return err
	}
	return r.supportHeroku(ctx)
}

func (r *run) unpackApp(ctx context.Context) error {
	app, err := openSource(r.App, r.bounds())
	if err != nil {
		return &Error{Kind: PackageRefused, Err: err}
	}
	app.exclude = r.Exclude
	r.log.Line("-----> Downloaded app package (%s)", app.size())
	err = app.unpack(ctx, r.container, r.build.AppDir)
	switch {
	case err == nil:
	case isRefusal(err):
		return &Error{Kind: PackageRefused, Err: errors.New(refusal(err))}
	default:
		return err
	}
	// Buildpacks change the app as they like, also where the archive took the right to from its owner.
	return r.command(ctx, "chmod", "-R", "u+rwX", r.build.Info.Inside(r.build.AppDir))
}

// unpackCache unpacks the cache. One that cannot be unpacked is left out as a whole: it would fail every staging of the
// app from now on.
func (r *run) unpackCache(ctx context.Context) error {
	if r.Cache == "" {
		return nil
	}
	cache, err := openSource(r.Cache, r.bounds())
	if err == nil {
		r.log.Line("-----> Downloaded app buildpack cache (%s)", cache.size())
		err = cache.unpack(ctx, r.container, CacheDir)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	r.log.Line("       The cache cannot be used: %s", refusal(err))
	r.slog.Warn("staging.cache.refused", "error", err)
	if err := r.command(ctx, "rm", "-rf", r.build.Info.Inside(CacheDir)); err != nil {
		return err
	}
	return containerfs.WriteFiles(ctx, r.container, path.Dir(CacheDir), containerfs.Directory(path.Base(CacheDir)))
}

// command runs a program of the container, in no one's environment.
func (r *run) command(ctx context.Context, program string, args ...string) error {
	spec := container.ProcessSpec{Path: program, Args: args, Dir: "/tmp"}
	process, err := r.container.Run(ctx, spec, container.IO{Stdout: r.log, Stderr: r.log})
	if err != nil {
		return err
	}
	status, err := process.Wait(ctx)
	if err == nil && status != 0 {
		err = fmt.Errorf("%s exited with status %d", program, status)
	}
	return err
}

// release finds out how to start the app: the user's word wins over what the buildpack tells.
func (r *run) release(ctx context.Context) error {
	release, err := r.chosen.Release(ctx, r.build)
	switch {
	case err != nil && ctx.Err() == nil && !r.hasApp(ctx):
		return errNoApp()
	case errors.Is(err, buildpack.ErrProcfile):
		return &Error{Kind: ProcfileRefused, Err: err}
	case err != nil:
		return scriptFailure(ReleaseFailed, err)
	}
	r.result.ProcessTypes = release.ProcessTypes
	if r.result.ProcessTypes == nil {
		r.result.ProcessTypes = map[string]string{}
	}
	r.result.StartCommand = cmp.Or(r.StartCommand, release.ProcessTypes["web"], release.StartCommand)
	r.result.DetectedBuildpack = cmp.Or(release.Name, r.result.DetectedBuildpack)
	r.result.EntrypointPrefix, r.result.Sidecars = release.EntrypointPrefix, release.Sidecars
	r.result.Buildpacks = r.tookPart(release.Buildpacks)
	return nil
}

// tookPart completes what the buildpacks tell of themselves: those that tell nothing go by where they come from.
func (r *run) tookPart(told []droplet.BuildpackInfo) []droplet.BuildpackInfo {
	all := slices.Clone(told)
	members := []buildpack.Buildpack{r.chosen}
	if multi, ok := r.chosen.(*buildpack.Multi); ok {
		members = multi.Members()
	}
	if len(all) == 0 && len(members) == 1 {
		all = []droplet.BuildpackInfo{{Key: r.chosen.Key(), Name: r.result.DetectedBuildpack}}
	}
	for i := range all {
		if all[i] == (droplet.BuildpackInfo{}) && len(all) == len(members) {
			all[i].Name = members[i].Path()
		}
	}
	return all
}

// hasApp tells whether there is a directory of the app, and neither nothing nor a link in its place.
func (r *run) hasApp(ctx context.Context) bool {
	stream, err := r.container.StreamOut(ctx, r.build.AppDir)
	if err != nil {
		return false
	}
	defer stream.Close()
	header, err := tar.NewReader(stream).Next()
	return err == nil && header.Typeflag == tar.TypeDir
}

func errNoApp() error {
	return &Error{Kind: DropletRefused, Err: errors.New("the buildpack has left no directory of the app")}
}
