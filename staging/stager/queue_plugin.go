package stager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/framework"
)

// choose says which plugin stages the app, by what it fills in of an engine's task: that of its framework, or for the framework
// "buildpack" the one that the request names, or the first of this stager's that takes the app. dir is the directory of the
// task; without one the request is only checked.
func (t *queued) choose(task *staging.Task, dir string) error {
	plugin, err := framework.Find(t.properties.Framework, t.q.parts.Plugins...)
	if errors.Is(err, framework.ErrBuildpack) {
		return t.chooseBuildpack(task, dir)
	}
	if err != nil {
		return err
	}
	opts := t.q.cfg.Frameworks
	opts.Unbound, opts.TempDir, opts.Limits = true, dir, t.limits()
	task.Custom = t.telling(framework.NewBuildpack(plugin, t.properties, opts))
	return nil
}

// chooseBuildpack takes buildpacks whose droplets begin with a startup script all the same.
func (t *queued) chooseBuildpack(task *staging.Task, dir string) error {
	if t.properties.Buildpack == "" {
		if len(t.q.parts.Buildpacks) == 0 {
			return fmt.Errorf("framework %s: this stager has no buildpacks; name one by its URL in properties.buildpack", framework.BuildpackName)
		}
		for _, bp := range t.q.parts.Buildpacks {
			task.Buildpacks = append(task.Buildpacks, t.telling(framework.WrapBuildpack(bp, t.properties)))
		}
		return nil
	}
	source, err := buildpack.ParseURL(t.properties.Buildpack)
	if err != nil || dir == "" {
		return err
	}
	// What is fetched is shown in the container, whose user has no part in the workspace else.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	named, err := source.Open(dir, buildpack.FetchOptions{Git: t.q.cfg.Git, Archive: t.q.cfg.Archive})
	if err != nil {
		return err
	}
	task.Custom = t.telling(framework.WrapBuildpack(named, t.properties))
	return nil
}

// telling has what a buildpack says go to the log of the task.
func (t *queued) telling(bp buildpack.Buildpack) buildpack.Buildpack { return &telling{bp, t} }

type telling struct {
	buildpack.Buildpack
	t *queued
}

// Compile implements [buildpack.Buildpack].
func (b *telling) Compile(ctx context.Context, build buildpack.Build) (err error) {
	stdout, stderr := applog.NewWriter(b.t.records, applog.Line{}), applog.NewWriter(b.t.records, applog.Line{})
	defer func() { err = errors.Join(err, stdout.Close(), stderr.Close()) }()
	build.Log, build.Stderr = io.MultiWriter(stdout, &b.t.stdout), io.MultiWriter(stderr, &b.t.stderr)
	return b.Buildpack.Compile(ctx, build)
}
