package stager

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/deakit/deakit/messaging"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
	"github.com/deakit/deakit/staging/framework"
)

// An asker gets the one answer to a request, in the form of its time. With nobody to answer to it does nothing.
type asker interface {
	answer(messaging.QueuedStagingAnswer, *failure) error
}

// toReply answers to the reply subject (since 2012-05-02).
type toReply struct {
	outbox *messaging.Outbox
	reply  messaging.Reply
}

func (a toReply) answer(m messaging.QueuedStagingAnswer, f *failure) error {
	if f != nil {
		m.Error = messaging.StagerError{Class: messaging.TaskFailed, Details: f.text()}.Error()
	}
	return messaging.PostAnswer(a.outbox, a.reply, m)
}

// toSubject publishes the answer on the subject that the request has (until 2012-05-02).
type toSubject struct {
	outbox  *messaging.Outbox
	subject string
}

func (a toSubject) answer(m messaging.QueuedStagingAnswer, f *failure) error {
	if f != nil {
		m.Error = messaging.StagerError{Class: f.class, Details: f.details}.Encode()
	}
	if !messaging.IsSubject(a.subject) {
		return errors.New("nobody can be told: the request has no notify_subj, or one that is no subject")
	}
	return messaging.Post(a.outbox, messaging.Subject[messaging.QueuedStagingAnswer](a.subject), m)
}

// A failure is why there is no droplet.
type failure struct {
	class   messaging.StagerErrorClass
	details string // for whoever asked
	logged  bool   // its text is the end of the log of the task (vcap_stager)
	cause   error  // for operators; it may say more than is told
}

// text is what the answer says since 2012-05-02. Where it tells no details, the original did not.
func (f *failure) text() string {
	switch f.class {
	case messaging.AppDownloadFailed:
		return "Failed downloading app"
	case messaging.AppUnzipFailed:
		return "Failed unpacking app"
	case messaging.StagingPluginFailed:
		return "Staging plugin failed: " + f.details
	case messaging.StagingTimedOut:
		return "Staging timed out after " + f.details + "."
	case messaging.DropletCreationFailed:
		return "Failed creating droplet"
	case messaging.DropletUploadFailed:
		return "Failed uploading droplet"
	}
	return f.details
}

// tooLate is the cause with which a task ends whose time is over.
type tooLate time.Duration

func (d tooLate) Error() string { return "the time of the task is over: " + d.text() }

func (d tooLate) text() string {
	return strconv.FormatFloat(time.Duration(d).Seconds(), 'f', -1, 64) + " seconds"
}

// failed tells what an error of a task means. ctx is the task's.
func (t *queued) failed(ctx context.Context, err error) *failure {
	var late tooLate
	var f *failure
	switch {
	case ctx.Err() != nil && errors.As(context.Cause(ctx), &late):
		return &failure{class: messaging.StagingTimedOut, details: late.text(), logged: true, cause: err}
	case ctx.Err() != nil:
		return &failure{class: messaging.TaskFailed, details: context.Cause(ctx).Error(), cause: err}
	case errors.As(err, &f):
		return f
	}
	return &failure{class: messaging.StagerFailed, details: err.Error(), cause: err}
}

// Error makes a failure an error on its way to finish.
func (f *failure) Error() string { return f.cause.Error() }

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.cause }

// stagingFailed tells what an error of the engine means.
func (t *queued) stagingFailed(err error) error {
	var failed *staging.Error
	if !errors.As(err, &failed) {
		return err
	}
	switch {
	case failed.Kind == staging.PackageRefused:
		return &failure{class: messaging.AppUnzipFailed, cause: err}
	case failed.Kind == staging.DropletRefused, failed.Phase == staging.StepPack:
		return &failure{class: messaging.DropletCreationFailed, cause: err}
	case failed.Kind == staging.ContainerFailed && !overLimit(err):
		return err
	}
	return &failure{class: messaging.StagingPluginFailed, details: t.pluginWords(failed), logged: true, cause: err}
}

// overLimit tells whether a task has used more than it may.
func overLimit(err error) bool {
	return errors.Is(err, staging.ErrOutOfMemory) || errors.Is(err, staging.ErrOutOfDisk)
}

// pluginWords are what the plugin and its programs say of their failure. The original told what was on its standard error
// alone; where that is empty, the end of the standard output has to tell.
func (t *queued) pluginWords(err *staging.Error) string {
	words := t.stderr.text()
	if words == "" && err.ExitStatus != 0 && !overLimit(err) {
		words = t.stdout.text()
	}
	var app *framework.AppError
	var script *buildpack.ScriptError
	switch {
	case err.Kind == staging.NoAppDetected:
		return join(words, "Unable to detect a supported application type")
	case errors.As(err.Err, &app):
		return join(words, app.Text)
	case errors.As(err.Err, &script) && script.Err != nil:
		return join(words, script.Err.Error())
	case err.Err != nil:
		return join(words, err.Err.Error())
	}
	return join(words, err.Kind.Error())
}

// join keeps the end where there is too much for an answer: it is where causes are told.
func join(lines ...string) string {
	text := strings.TrimSpace(strings.Join(lines, "\n"))
	if len(text) > 2*maxWords {
		text = "... " + strings.ToValidUTF8(text[len(text)-2*maxWords:], "")
	}
	return text
}
