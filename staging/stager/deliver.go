package stager

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/internal/transfer"
	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/framework"
)

// deliver puts droplet and cache where they are wanted.
func (t *task) deliver(ctx context.Context) error {
	file, err := os.Open(t.file(dropletName))
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if t.s.parts.Droplets != nil {
		if _, t.droplet, err = t.s.parts.Droplets.Put(ctx, file); err != nil {
			return err
		}
	}
	// This line is in no droplet: those who follow the log see it.
	t.output.Line("-----> Uploading droplet (%s)", staging.HumanSize(blocks(info)))
	if err := t.upload(ctx, t.request.UploadURI, dropletName); err != nil {
		return err
	}
	if t.request.BuildpackCacheUploadURI == "" || t.result.Cache.SHA1 == "" { // nobody wants it, or it could not be packed
		return nil
	}
	err = t.upload(ctx, t.request.BuildpackCacheUploadURI, cacheName)
	if err != nil && t.s.cfg.CacheOptional && ctx.Err() == nil {
		t.log.Warn("staging.cache.upload.failed", "error", err)
		return nil
	}
	return err
}

// blocks is what a file takes on disk.
func blocks(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}

func (t *task) upload(ctx context.Context, uri, name string) error {
	file, err := os.Open(t.file(name))
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	opts := transfer.UploadOptions{FileName: name, PollInterval: t.s.cfg.PollInterval}
	for attempt := 1; ; attempt++ {
		err := transfer.Upload(ctx, nil, uri, file, info.Size(), opts)
		if err == nil || attempt == uploadAttempts || ctx.Err() != nil || !isBroken(err) {
			return err
		}
		t.log.Warn("staging.upload.again", "file", name, "attempt", attempt, "error", err)
		select {
		case <-time.After(time.Duration(attempt) * time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

const uploadAttempts = 3

// isBroken tells whether an upload broke off without an answer. It may have arrived: the same bytes once more change nothing
// then, while a droplet that is there would be told lost. Who kept us waiting in vain will do so again.
func isBroken(err error) bool {
	var failed *transfer.UploadError
	return errors.As(err, &failed) && failed.Status == 0 && failed.Err != nil && !errors.Is(err, transfer.ErrTimeout)
}

// setUpDone sends answer 1.
func (t *task) setUpDone(ctx context.Context, err error) {
	setup := messaging.StagingSetup{TaskID: t.id}
	if t.s.cfg.LogURL != nil {
		setup.StreamingLogURL = t.s.cfg.LogURL(t.id, staging.LogPath)
	}
	if err != nil {
		text, _ := wire(err)
		setup.Error = &text
	}
	t.told(t.requester.setUp(ctx, setup))
}

// finish sends the last answer, and returns the message that starts instance 0, if there is to be one.
func (t *task) finish(ctx context.Context, err error) *messaging.StartMessage {
	stopped := errors.Is(context.Cause(ctx), errStopped)
	ctx = context.WithoutCancel(ctx)
	if stopped {
		t.told(t.requester.refused(ctx, messaging.StagingRefusal{TaskID: t.id, AppID: t.app, Error: errStopped.Error()}))
		return nil
	}
	result := messaging.StagingResult{TaskID: t.id, AppID: t.app}
	if t.result.Droplet.SHA1 != "" { // it was packed, whatever came after
		result.DetectedBuildpack = orNull(t.result.DetectedBuildpack)
		result.BuildpackKey = orNull(t.result.BuildpackKey)
		result.DetectedStartCommand = orNull(t.result.StartCommand)
		result.DropletSHA1 = &t.result.Droplet.SHA1
		result.Procfile = t.result.ProcessTypes
	}
	if err != nil {
		result.Error, result.ErrorInfo = wire(err)
		t.told(t.requester.done(ctx, result))
		return nil
	}
	var start *messaging.StartMessage
	if t.request.HasStart() {
		if start = t.promise(); start == nil {
			result.DropletSHA1 = nil // the Cloud Controller is to start all instances itself
		}
	}
	t.told(t.requester.done(ctx, result))
	return start
}

// promise returns the message that instance 0 will be started with; nil when nobody starts it here. What the task has
// reserved is then what the instance needs.
func (t *task) promise() *messaging.StartMessage {
	if t.s.parts.Start == nil || t.s.parts.Leaving != nil && t.s.parts.Leaving() {
		return nil
	}
	start, err := t.startMessage(t.result.Droplet.SHA1)
	if err != nil {
		t.log.Error("staging.task.start-message.refused", "error", err)
		return nil
	}
	need := resources.Amount{MemoryBytes: sane(start.Limits.Mem) << 20, DiskBytes: sane(start.Limits.Disk) << 20}
	if err := t.reservation.Resize(need); err != nil {
		t.log.Warn("staging.task.no-room-for-instance", "error", err)
		return nil
	}
	return start
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// told logs that the requester could not be told. The task goes on all the same: a droplet that arrived is there.
func (t *task) told(err error) {
	if err != nil {
		t.log.Error("staging.answer.failed", "error", err)
	}
}

// pluginFailed is what the original says when its program in the container failed (dea_ng).
const pluginFailed = "Script exited with status 1"

// wire tells an error in the words of the protocol. Types other than those of dea_ng would break the Cloud Controller.
func wire(err error) (string, *messaging.StagingError) {
	var download *transfer.DownloadError
	var failed *staging.Error
	switch {
	case errors.As(err, &download):
		return download.Error(), nil
	case !errors.As(err, &failed):
		return err.Error(), nil
	}
	message := failed.Kind.Error()
	switch failed.Kind {
	case staging.NoAppDetected, staging.CompileFailed:
		if words := frameworkWords(failed); words != "" {
			message = words
		}
		for _, limit := range []error{staging.ErrOutOfMemory, staging.ErrOutOfDisk} {
			if errors.Is(err, limit) {
				message += ": " + limit.Error()
			}
		}
	case staging.ReleaseFailed:
		message += ":\n" + failed.Output
	case staging.ProcfileRefused, staging.BuildpackFailed:
		return pluginFailed, nil
	case staging.TimedOut:
		return "Staging in container timed out", nil
	default:
		return fmt.Sprintf("Error staging: %v: %v", message, failed.Err), nil
	}
	return pluginFailed, &messaging.StagingError{Type: string(failed.Kind), Message: message}
}

// frameworkWords are what the plugin of a framework says of its failure; empty where that is a buildpack's. Compilation is not what
// the owner of its app knows of.
func frameworkWords(failed *staging.Error) string {
	var app *framework.AppError
	var script *buildpack.ScriptError
	switch {
	case errors.As(failed.Err, &app):
		return app.Text
	case errors.As(failed.Err, &script) && script.Err != nil && strings.HasPrefix(script.Script, "framework/"):
		return script.Err.Error() // its runtime, mostly
	}
	return ""
}
