package stager

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

// maxParallel is how many admin buildpacks a task downloads at once.
const maxParallel = 3

// getBuildpacks begins the task for the engine, with the buildpacks that it may need.
func (t *task) getBuildpacks(ctx context.Context) error {
	if err := t.nameBuildpacks(ctx); err != nil || t.s.cfg.Adapt == nil {
		return err
	}
	return t.s.cfg.Adapt(t.request, &t.staged)
}

func (t *task) nameBuildpacks(ctx context.Context) error {
	p := t.request.Properties
	t.staged = staging.Task{
		App:          t.file(packageName),
		StartCommand: p.Meta.Command,
		Timeout:      t.s.cfg.MaxDuration, StepTimeout: t.s.cfg.StepTimeout,
		CacheOptional: t.s.cfg.CacheOptional, ModTime: t.s.cfg.ModTime,
		Limits: droplet.Limits{MaxBytes: t.diskMB() << 20},
		Environment: staging.Environment{
			Application: t.application(), Services: p.Services, MemoryMB: t.appMemory(),
			User: slices.Concat(t.s.cfg.Environment, p.Environment),
		},
	}
	if custom := cmp.Or(p.Buildpack, p.BuildpackGitURL); custom != "" {
		t.staged.Custom = t.customBuildpack(custom)
		return nil
	}
	t.staged.BuildpackKey = p.BuildpackKey
	refs, err := t.holdAdminBuildpacks(ctx)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if ref == nil {
			continue
		}
		bp, err := ref.Buildpack()
		if err != nil { // the others may do
			t.log.Warn("staging.buildpack.unusable", "key", ref.Key(), "error", err)
			continue
		}
		t.staged.Buildpacks = append(t.staged.Buildpacks, bp)
	}
	return nil
}

// holdAdminBuildpacks downloads the admin buildpacks that the task may need, in the order of the request, holds them until the
// task ends, and removes from the store what no task needs any more. There is nil for what is not needed, or has no URL.
func (t *task) holdAdminBuildpacks(ctx context.Context) ([]*buildpack.Ref, error) {
	wanted := t.request.Properties.BuildpackKey // empty means all
	refs := make([]*buildpack.Ref, len(t.request.AdminBuildpacks))
	t.undo = append(t.undo, func(context.Context) error {
		for _, ref := range refs {
			if ref != nil {
				ref.Release()
			}
		}
		return nil
	})
	var keep []string
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(maxParallel)
	for i, admin := range t.request.AdminBuildpacks {
		keep = append(keep, admin.Key)
		if wanted != "" && admin.Key != wanted {
			continue
		}
		if !isURL(admin.URL) {
			t.log.Warn("staging.buildpack.bad-url", "key", admin.Key)
			continue
		}
		group.Go(func() (err error) {
			refs[i], err = t.s.parts.Buildpacks.Get(groupCtx, admin.Key, download(admin.URL))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if _, err := t.s.parts.Buildpacks.Prune(ctx, keep); err != nil && ctx.Err() == nil {
		t.log.Warn("staging.buildpack.prune.failed", "error", err)
	}
	return refs, nil
}

// customBuildpack returns a buildpack that is fetched when it is needed: the log can be followed by then. So a URL that
// cannot be used fails then, too.
func (t *task) customBuildpack(url string) buildpack.Buildpack {
	source, err := buildpack.ParseURL(url)
	if err != nil {
		return &unusable{err: err}
	}
	bp, err := source.Open(t.file(customDir), buildpack.FetchOptions{Git: t.s.cfg.Git, Archive: t.s.cfg.Archive})
	if err != nil {
		return &unusable{err: err}
	}
	return bp
}

// unusable is a buildpack that cannot be had.
type unusable struct {
	buildpack.Classic
	err error
}

func (*unusable) Mounts() []container.BindMount { return nil }

func (u *unusable) Prepare(context.Context, buildpack.Build) error {
	return fmt.Errorf("Git clone failed: %w", u.err) //nolint:staticcheck // the words of dea_ng
}
