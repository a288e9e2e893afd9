package stager

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/deakit/deakit/applog"
	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/rmtree"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging"
)

// errStopped is the cause with which tasks are cancelled. Its text is that of dea_ng.
var errStopped = errors.New("Error staging: task stopped")

// A task is one request on its way. After admission it belongs to the goroutine of run; others only call cancel.
type task struct {
	s       *Stager
	log     *slog.Logger
	id, app string
	request messaging.StagingRequest
	requester

	reservation *resources.Reservation
	cancel      context.CancelCauseFunc
	path        string // of the container on the host, guarded by Stager.mu

	undo      []func(context.Context) error // of what must not outlast the last answer
	dir       string                        // the workspace: work/ and log/
	quota     *quota                        // of work/
	output    *staging.Log
	container container.Container
	staged    staging.Task
	result    staging.Result
	droplet   *droplet.Ref
}

func newTask(s *Stager, request messaging.StagingRequest, requester requester) *task {
	t := &task{s: s, id: string(request.TaskID), app: string(request.AppID), request: request, requester: requester}
	t.log = s.log.With("task", t.id, "app", t.app)
	t.quota = newQuota(s.cfg, t.diskMB())
	return t
}

// line is one of the log of the app.
func (t *task) line(source applog.Source, text string) applog.Line {
	return applog.Line{
		App: t.app, Source: source, Stream: applog.Stdout, Text: text, Drains: t.request.Properties.Services.DrainURLs(),
	}
}

// appMemory is the memory limit of the app in MB; 0 when the request does not tell.
func (t *task) appMemory() int64 {
	if t.request.MemoryLimit != 0 {
		return sane(int64(t.request.MemoryLimit))
	}
	return sane(t.request.StartLimits().Mem)
}

func (t *task) memoryMB() int64 { return max(t.s.cfg.MemoryMB, t.appMemory()) }

func (t *task) diskMB() int64 {
	disk := int64(t.request.DiskLimit)
	if disk == 0 {
		disk = t.request.StartLimits().Disk
	}
	return max(t.s.cfg.DiskMB, sane(disk))
}

// sane keeps a number of megabytes in a range in which it can be counted with.
func sane(mb int64) int64 { return min(max(mb, 0), 1<<40) }

func (t *task) amount() resources.Amount {
	return resources.Amount{MemoryBytes: t.memoryMB() << 20, DiskBytes: t.diskMB() << 20}
}

// run does everything from the first step to the last trace. The order at the end is that of dea_ng, but that the
// container and the workspace are gone before the last answer.
func (t *task) run(ctx context.Context) {
	defer t.cancel(nil)
	began := time.Now()
	err := t.work(ctx)
	t.cleanUp(ctx)
	start := t.finish(ctx, err)
	t.log.Info("staging.task.done", "took", time.Since(began), "error", err)
	t.handOver(ctx, start)
	t.s.unregister(t)
	t.linger()
}

// handOver has instance 0 started, if it is to be, in the room that the task held. Whoever has stopped the app while its result
// was told wants no instance.
func (t *task) handOver(ctx context.Context, start *messaging.StartMessage) {
	switch {
	case start == nil:
		t.reservation.Release()
	case ctx.Err() != nil:
		t.log.Info("staging.task.start.left-out", "reason", context.Cause(ctx))
		t.reservation.Release()
	default:
		t.s.parts.Start(*start, t.reservation)
	}
}

// work is the task itself. Answer 1 is sent on the way.
func (t *task) work(ctx context.Context) error {
	err := t.setUp(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx) // a stopped task has one answer
	}
	t.setUpDone(ctx, err)
	if err != nil {
		return err
	}
	if err := t.stage(ctx); err != nil {
		return err
	}
	return t.deliver(ctx)
}

// stage has the app staged, and gives the container back as soon as nothing needs it any more.
func (t *task) stage(ctx context.Context) error {
	var files [2]*os.File
	for i, name := range []string{dropletName, cacheName} {
		f, err := os.OpenFile(t.file(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		files[i] = f
	}
	t.staged.Droplet = t.quota.writer(files[0])
	if t.request.BuildpackCacheUploadURI != "" {
		t.staged.NewCache = t.quota.writer(files[1])
	}
	parts := staging.Parts{
		Container: t.container, Log: t.output, Logger: t.log,
		WatchDisk: t.s.parts.Backend.Capabilities().Disk == container.NotEnforced,
	}
	var err error
	t.result, err = staging.Stage(ctx, t.staged, parts)
	t.destroyContainer(ctx)
	if err != nil {
		return err
	}
	return errors.Join(files[0].Close(), files[1].Close())
}

// The names of the files in the work directory.
const (
	packageName  = "app"
	oldCacheName = "old_cache.tgz"
	dropletName  = "droplet.tgz"
	cacheName    = "buildpack_cache.tgz"
	customDir    = "buildpacks"
)

// file returns a path in the work directory.
func (t *task) file(name string) string { return filepath.Join(t.dir, "work", name) }

// logDir is the directory that is shown as the container's root to those who read the log.
func (t *task) logDir() string { return filepath.Join(t.dir, "log") }

func (t *task) destroyContainer(ctx context.Context) {
	if t.container == nil {
		return
	}
	c := t.container
	t.container = nil
	if err := destroy(ctx, c, t.log, t.s.closing); err != nil {
		t.log.Error("staging.container.left", "handle", c.Handle(), "error", err)
	}
}

// destroy ends a container, also where ctx has ended, and tries again where that fails, with pauses unless there is a hurry.
func destroy(ctx context.Context, c container.Container, log *slog.Logger, hurry <-chan struct{}) error {
	ctx = context.WithoutCancel(ctx)
	for attempt := 1; ; attempt++ {
		bounded, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := c.Destroy(bounded)
		cancel()
		if err == nil || errors.Is(err, container.ErrNotFound) {
			return nil
		}
		log.Error("staging.container.destroy.failed", "handle", c.Handle(), "attempt", attempt, "error", err)
		if attempt == 3 {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-hurry: // all the more reason to try again
		}
	}
}

// cleanUp takes back what the task has made, but for its log.
func (t *task) cleanUp(ctx context.Context) {
	t.destroyContainer(ctx)
	ctx = context.WithoutCancel(ctx)
	for i := len(t.undo) - 1; i >= 0; i-- {
		if err := t.undo[i](ctx); err != nil {
			t.log.Error("staging.task.cleanup.failed", "error", err)
		}
	}
	if t.dir != "" {
		if err := rmtree.Path(filepath.Join(t.dir, "work")); err != nil {
			t.log.Error("staging.task.cleanup.failed", "error", err)
		}
	}
}

// linger keeps the log, and the droplet for whoever starts instance 0, for a while after the last answer.
func (t *task) linger() {
	if t.dir != "" {
		timer := time.NewTimer(t.s.cfg.LogLinger)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-t.s.closing:
		}
		t.s.hideLog(t.id, t.logDir())
		if err := rmtree.Path(t.dir); err != nil {
			t.log.Error("staging.task.cleanup.failed", "error", err)
		}
	}
	if t.droplet != nil {
		t.droplet.Release()
	}
}
