package stager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/appenv"
	"github.com/deakit/deakit/internal/egress"
	"github.com/deakit/deakit/internal/transfer"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

// maxParallel is how many admin buildpacks a task downloads at once.
const maxParallel = 3

// setUp does all that comes before answer 1. What it makes is on the undo stack, or in fields that cleanUp looks at.
func (t *task) setUp(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"workspace", t.makeWorkspace},
		{"stack", t.findStack},
		{"buildpacks", t.getBuildpacks},
		{"container", t.createContainer},
		{"downloads", t.download},
	} {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := t.within(ctx, step.name, step.do); err != nil {
			t.log.Warn("staging.task.setup.failed", "step", step.name, "error", err)
			return err
		}
	}
	return nil
}

// within does a step in the time that it may take. An error that comes of the end of that time says so.
func (t *task) within(ctx context.Context, name string, do func(context.Context) error) error {
	late := fmt.Errorf("Error staging: waited for %s longer than %v", name, t.s.cfg.StepTimeout)
	bounded, cancel := context.WithTimeoutCause(ctx, t.s.cfg.StepTimeout, late)
	defer cancel()
	err := do(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return late
	}
	return err
}

func (t *task) makeWorkspace(context.Context) (err error) {
	if t.dir, err = os.MkdirTemp(t.s.workspaces(), "task-"); err != nil {
		return err
	}
	log := filepath.Join(t.logDir(), staging.LogPath)
	for _, dir := range []string{t.file(customDir), filepath.Dir(log)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(t.dir, 0o755); err != nil { // the container shows what is below
		return err
	}
	lines := applog.NewWriter(t.s.parts.Logs, t.line(applog.Staging, ""))
	if t.output, err = staging.NewLog(log, staging.LogOptions{Copy: lines}); err != nil {
		return err
	}
	t.undo = append(t.undo, func(context.Context) error { return errors.Join(t.output.Close(), lines.Close()) })
	t.s.showLog(t.id, t.logDir())
	return nil
}

// stack returns the one that the request names, the first one if it names none.
func (t *task) stack() (Stack, bool) {
	if t.request.Stack == "" {
		return t.s.cfg.Stacks[0], true
	}
	i := slices.IndexFunc(t.s.cfg.Stacks, func(s Stack) bool { return s.Name == t.request.Stack })
	if i < 0 {
		return Stack{}, false
	}
	return t.s.cfg.Stacks[i], true
}

func (t *task) findStack(context.Context) error {
	if _, ok := t.stack(); !ok {
		return fmt.Errorf("Error staging: Stack %s does not exist", t.request.Stack)
	}
	return nil
}

// getBuildpacks holds the buildpacks that the task may need, and removes from the store what no task needs any more.
func (t *task) getBuildpacks(ctx context.Context) error {
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
	custom := p.Buildpack
	if custom == "" {
		custom = p.BuildpackGitURL
	}
	if custom != "" {
		t.staged.Custom = t.customBuildpack(custom)
		return nil
	}
	t.staged.BuildpackKey = p.BuildpackKey
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
		if p.BuildpackKey != "" && admin.Key != p.BuildpackKey {
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
	if _, err := t.s.parts.Buildpacks.Prune(ctx, keep); err != nil && ctx.Err() == nil {
		t.log.Warn("staging.buildpack.prune.failed", "error", err)
	}
	return nil
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

// application is VCAP_APPLICATION: what the Cloud Controller says, else what the start message tells, as dea_ng had it
// until 2014.
func (t *task) application() json.RawMessage {
	var start struct {
		Application json.RawMessage `json:"vcap_application"`
		Limits      json.RawMessage `json:"limits"`
		Name        string          `json:"name"`
		Version     string          `json:"version"`
		URIs        []string        `json:"uris"`
	}
	if json.Unmarshal(t.request.StartMessage, &start) != nil {
		return nil
	}
	var told map[string]json.RawMessage
	if json.Unmarshal(start.Application, &told) == nil && told != nil {
		return start.Application
	}
	if start.Name == "" {
		return nil
	}
	if start.URIs == nil {
		start.URIs = []string{}
	}
	return json.RawMessage(appenv.JSON(map[string]any{
		"limits": start.Limits, "users": nil,
		"application_version": start.Version, "application_name": start.Name, "application_uris": start.URIs,
		"version": start.Version, "name": start.Name, "uris": start.URIs,
	}))
}

func (t *task) createContainer(ctx context.Context) error {
	rules, err := egress.Rules(t.request.EgressNetworkRules)
	if err != nil {
		return err
	}
	stack, _ := t.stack()
	cfg := t.s.cfg
	t.container, err = t.s.parts.Backend.Create(ctx, container.Spec{
		RootFS:     stack.RootFS,
		BindMounts: append(t.staged.Mounts(), cfg.BindMounts...),
		Limits: container.Limits{
			MemoryBytes: t.memoryMB() << 20, DiskBytes: t.diskMB() << 20, DiskInodes: cfg.DiskInodes,
			CPUShares: cfg.CPUShares, PIDs: cfg.Processes, Bandwidth: cfg.Bandwidth,
		},
		Properties: map[string]string{"app": t.app, "staging_task": t.id, ownerProperty: cfg.Owner},
	})
	if err != nil {
		t.container = nil // an interface around a nil pointer would not do
		return err
	}
	info, err := t.container.Info(ctx)
	if err != nil {
		return err
	}
	t.s.containerMade(t, info.Path)
	for _, rule := range rules {
		if err := t.container.NetOut(ctx, rule); err != nil {
			return err
		}
	}
	return nil
}

// download gets the package and the cache. The task goes on without the cache, also where there is no room for both.
func (t *task) download(ctx context.Context) error {
	err := t.downloadBoth(ctx)
	if t.request.BuildpackCacheDownloadURI == "" || !errors.As(err, new(noRoom)) {
		return err
	}
	t.staged.Cache = ""
	for _, name := range []string{oldCacheName, packageName} {
		if err := t.quota.remove(t.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	t.log.Info("staging.cache.left-out", "reason", err)
	return t.get(ctx, t.request.DownloadURI, packageName)
}

// downloadBoth gets the package and the cache at the same time.
func (t *task) downloadBoth(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return t.get(ctx, t.request.DownloadURI, packageName) })
	if uri := t.request.BuildpackCacheDownloadURI; uri != "" {
		group.Go(func() error {
			if err := t.get(ctx, uri, oldCacheName); err != nil {
				t.log.Info("staging.cache.download.failed", "error", err)
				return t.quota.remove(t.file(oldCacheName))
			}
			t.staged.Cache = t.file(oldCacheName)
			return nil
		})
	}
	return group.Wait()
}

func (t *task) get(ctx context.Context, uri, name string) error {
	file, err := os.OpenFile(t.file(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	opts := transfer.DownloadOptions{MaxBytes: t.s.cfg.MaxPackageBytes, FollowRedirects: true}
	if err := transfer.Download(ctx, nil, uri, t.quota.writer(file), opts); err != nil {
		return err
	}
	return file.Close()
}

// startMessage returns the message that starts instance 0 from the droplet of this digest, with nothing else changed; nil
// when there is none, or one that no DEA would take.
func (t *task) startMessage(sha1 string) (*messaging.StartMessage, error) {
	if !t.request.HasStart() {
		return nil, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(t.request.StartMessage, &fields); err != nil {
		return nil, err
	}
	fields["sha1"] = json.RawMessage(appenv.JSON(sha1))
	message, err := messaging.DEAStart(t.s.cfg.ID).Decode([]byte(appenv.JSON(fields)))
	if err != nil {
		return nil, err
	}
	return &message, nil
}
