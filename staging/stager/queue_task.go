package stager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/internal/transfer"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/framework"
)

// A queued is one request on its way. It belongs to one goroutine: that which takes it, then that which works on it.
type queued struct {
	q       *Queue
	log     *slog.Logger
	id      string
	request messaging.QueuedStaging
	asker   asker

	properties     framework.Properties
	records        *taskLog
	stdout, stderr words // of the programs of the plugin
	space          *workspace
	container      container.Container
}

func newQueued(q *Queue, request messaging.QueuedStaging, asker asker) *queued {
	t := &queued{q: q, id: randomHex(), request: request, asker: asker}
	t.log = q.log.With("task", t.id, "app", string(request.AppID))
	t.records = &taskLog{log: t.log}
	return t
}

// read checks all of a request that can be checked before its turn.
func (t *queued) read() (err error) {
	for _, uri := range []struct{ key, text string }{
		{"download_uri", t.request.DownloadURI}, {"upload_uri", t.request.UploadURI},
	} {
		u, err := url.Parse(uri.text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" { // err quotes what may be a password
			return fmt.Errorf("%s must be an http or https URL", uri.key)
		}
	}
	if t.properties, err = framework.ParseProperties(t.request.Properties); err != nil {
		return err
	}
	return t.choose(&staging.Task{}, "")
}

func (t *queued) redactedDownload() string { return transfer.Redact(t.request.DownloadURI) }

// run does a task, takes back what it made, and answers.
func (t *queued) run(ctx context.Context) {
	began := time.Now()
	late := tooLate(t.q.cfg.MaxDuration)
	ctx, cancel := context.WithTimeoutCause(ctx, t.q.cfg.MaxDuration, late)
	defer cancel()
	var f *failure
	if err := t.work(ctx); err != nil {
		f = t.failed(ctx, err)
	}
	t.cleanUp(ctx)
	t.finish(f)
	t.log.Info("stager.task.done", "took", time.Since(began), "failed", f != nil)
}

// work is the task itself, with the words of the original.
func (t *queued) work(ctx context.Context) error {
	for _, step := range []struct {
		text string
		do   func(context.Context) error
	}{
		{"Setting up temporary directories", t.makeWorkspace},
		{"Downloading application", t.download},
		{"Unpacking application", t.stage}, // which says when it comes to the next two
		{"Uploading droplet", t.upload},
	} {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		t.records.say(step.text)
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	t.records.say("Done!")
	return nil
}

func (t *queued) makeWorkspace(context.Context) (err error) {
	t.space, err = makeWorkspace(t.q.cfg.BaseDir)
	return err
}

// zipName is the name of the app in the workspace; that of the droplet is dropletName.
const zipName = "app.zip"

func (t *queued) download(ctx context.Context) error {
	file, err := os.OpenFile(t.space.file(zipName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	opts := transfer.DownloadOptions{MaxBytes: t.q.cfg.MaxPackageBytes}
	if err := transfer.Download(ctx, nil, t.request.DownloadURI, file, opts); err != nil {
		return &failure{class: messaging.AppDownloadFailed, cause: err}
	}
	return file.Close()
}

// stage has the plugin make a droplet.
func (t *queued) stage(ctx context.Context) error {
	if err := checkZip(t.space.file(zipName)); err != nil {
		return &failure{class: messaging.AppUnzipFailed, cause: err}
	}
	file, err := os.OpenFile(t.space.file(dropletName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	task, err := t.stagingTask(file)
	if err != nil {
		return err
	}
	if err := t.createContainer(ctx, task); err != nil {
		return err
	}
	parts := staging.Parts{
		Container: t.container, Logger: t.log, Began: t.stepBegan,
		WatchDisk: t.q.parts.Backend.Capabilities().Disk == container.NotEnforced,
	}
	if _, err = staging.Stage(ctx, task, parts); err != nil {
		return t.stagingFailed(err)
	}
	return file.Close()
}

// stepBegan says what the engine does next.
func (t *queued) stepBegan(step string) {
	switch step {
	case staging.StepDetect:
		t.records.say("Staging application")
	case staging.StepPack:
		t.records.say("Creating droplet")
	}
}

func (t *queued) stagingTask(to io.Writer) (staging.Task, error) {
	task := staging.Task{
		App: t.space.file(zipName), Droplet: to,
		Timeout: t.q.cfg.MaxDuration, StepTimeout: t.q.cfg.MaxDuration, // the context of the task ends before
		Limits:      t.limits(),
		Environment: staging.Environment{MemoryMB: int64(t.properties.Resources.MemoryMB), User: t.properties.Environment},
	}
	return task, t.choose(&task, t.space.dir)
}

func (t *queued) limits() droplet.Limits { return droplet.Limits{MaxBytes: sane(t.q.cfg.DiskMB) << 20} }

func (t *queued) createContainer(ctx context.Context, task staging.Task) error {
	cfg := t.q.cfg
	made, err := t.q.parts.Backend.Create(ctx, container.Spec{
		RootFS: cfg.RootFS, BindMounts: task.Mounts(),
		Limits: container.Limits{
			MemoryBytes: sane(cfg.MemoryMB) << 20, DiskBytes: sane(cfg.DiskMB) << 20, DiskInodes: cfg.DiskInodes,
			CPUShares: cfg.CPUShares, PIDs: cfg.Processes,
		},
		Properties: map[string]string{"app": string(t.request.AppID), "staging_task": t.id, ownerProperty: cfg.Owner},
	})
	if err == nil {
		t.container = made
	}
	return err
}

func (t *queued) upload(ctx context.Context) error {
	file, err := os.Open(t.space.file(dropletName))
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := transfer.Upload(ctx, nil, t.request.UploadURI, file, info.Size(), transfer.UploadOptions{Plain: true}); err != nil {
		return &failure{class: messaging.DropletUploadFailed, cause: err}
	}
	return nil
}

// cleanUp takes back what the task has made.
func (t *queued) cleanUp(ctx context.Context) {
	if t.container != nil {
		if err := destroy(ctx, t.container, t.log, t.q.tasks.Done()); err != nil {
			t.log.Error("stager.task.cleanup.failed", "error", err)
		}
	}
	if t.space != nil {
		if err := t.space.remove(); err != nil {
			t.log.Error("stager.task.cleanup.failed", "error", err)
		}
	}
}

// finish completes the log and sends the answer.
func (t *queued) finish(f *failure) {
	if f != nil {
		if f.logged {
			t.records.say(f.text())
		}
		t.log.Warn("stager.task.failed", "class", string(f.class), "error", f.cause)
	}
	answer := messaging.QueuedStagingAnswer{TaskID: messaging.Text(t.id), TaskLog: t.records.String()}
	if err := t.asker.answer(answer, f); err != nil {
		t.log.Error("stager.answer.failed", "error", err)
	}
}

// errNoZip: original stagers unpack nothing else.
var errNoZip = errors.New("the app is no zip file")

// checkZip looks at how a file begins: the engine would take archives of other kinds, too.
func checkZip(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	start := make([]byte, 4)
	if _, err := io.ReadFull(file, start); err != nil || string(start[:2]) != "PK" {
		return errNoZip
	}
	return nil
}
