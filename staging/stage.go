package staging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/tarball"
	"github.com/deakit/deakit/staging/buildpack"
)

// The causes of failures that are limits of the container.
var (
	// ErrOutOfMemory means that the container was stopped for using more memory than its limit.
	ErrOutOfMemory = errors.New("the staging container ran out of memory")
	// ErrOutOfDisk means the same for disk, where that is watched (Parts.WatchDisk).
	ErrOutOfDisk = errors.New("the staging container used more disk than its limit")
)

// Stage makes a droplet of an app. It fails with an [*Error], or with another error when task or parts are incomplete.
// When ctx ends, it stops the container and returns; the Error is of kind Interrupted then and wraps the cause of ctx.
// In every case the container's processes have ended when Stage returns, unless the back end fails to end them.
func Stage(ctx context.Context, task Task, parts Parts) (Result, error) {
	task = task.withDefaults()
	if err := task.validate(parts); err != nil {
		return Result{}, err
	}
	if parts.Log == nil {
		log, err := NewLog("", LogOptions{})
		if err != nil {
			return Result{}, fmt.Errorf("stage: %w", err)
		}
		defer log.Close()
		parts.Log = log
	}
	if parts.Logger == nil {
		parts.Logger = slog.New(slog.DiscardHandler)
	}
	if parts.Began == nil {
		parts.Began = func(string) {}
	}
	r := &run{Task: task, container: parts.Container, watchDisk: parts.WatchDisk, log: parts.Log, slog: parts.Logger, began: parts.Began}
	if err := r.steps(ctx); err != nil {
		r.log.Line("Staging failed: %v", describe(err))
		r.stop(ctx)
		return Result{}, err
	}
	return r.result, nil
}

// describe is what the log says of a failure: its cause, without the words for operators.
func describe(err *Error) string {
	text := err.Kind.Error()
	switch {
	case err.Kind == ReleaseFailed && err.Output != "":
		text += ":\n" + strings.TrimRight(err.Output, "\n")
	case err.Err == nil, err.Kind == NoAppDetected:
	case err.Err != nil:
		text += ": " + err.Err.Error()
	}
	return text
}

// A run is one staging under way. It belongs to one goroutine.
type run struct {
	Task
	container container.Container
	watchDisk bool
	log       *Log
	slog      *slog.Logger
	began     func(step string)

	build  buildpack.Build
	chosen buildpack.Buildpack
	result Result
}

// errTimeout is the cause of contexts that bound steps.
var errTimeout = errors.New("the time for the step has passed")

func (r *run) steps(ctx context.Context) *Error {
	var work context.Context // of what buildpacks do
	for _, step := range []struct {
		name    string
		do      func(context.Context) error
		bounded bool // by Timeout, together with the others
	}{
		{StepPrepare, r.prepare, false},
		{StepDetect, r.detect, true},
		{StepCompile, r.compile, true},
		{StepRelease, r.release, true},
		{StepPack, r.pack, false},
	} {
		if step.name == StepDetect {
			var end func()
			work, end = r.working(ctx)
			defer end()
		}
		bound := work
		if !step.bounded {
			var cancel context.CancelFunc
			bound, cancel = context.WithTimeoutCause(ctx, r.StepTimeout, errTimeout)
			defer cancel()
		}
		r.began(step.name)
		began := time.Now()
		err := step.do(bound)
		if err == nil && bound.Err() != nil {
			err = context.Cause(bound)
		}
		took := time.Since(began)
		if err != nil {
			failed := r.failure(ctx, bound, step.name, err)
			r.slog.Info("staging.step.failed", "step", step.name, "took", took, "error", failed)
			return failed
		}
		r.slog.Info("staging.step.done", "step", step.name, "took", took)
		r.result.Steps = append(r.result.Steps, Step{step.name, took})
	}
	return nil
}

// working returns the context of what buildpacks do. end ends it, and waits for what watches it.
func (r *run) working(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(r.Timeout, func() { cancel(errTimeout) })
	watched := r.watch(ctx, cancel)
	return ctx, func() {
		timer.Stop()
		cancel(nil)
		<-watched
	}
}

// failure tells what an error of a step means.
func (r *run) failure(ctx, bound context.Context, step string, err error) *Error {
	var failed *Error
	if !errors.As(err, &failed) {
		failed = &Error{Kind: ContainerFailed, Err: err}
	}
	failed.Phase = step
	failed.Tail = r.log.lastLines()
	var member *buildpack.MemberError
	switch {
	case failed.Buildpack != "":
	case errors.As(err, &member):
		failed.Buildpack = member.Buildpack
	case r.chosen != nil:
		failed.Buildpack = nameOf(r.chosen)
	}
	switch {
	case ctx.Err() != nil:
		failed.Kind, failed.Err = Interrupted, context.Cause(ctx)
	case bound.Err() != nil && errors.Is(context.Cause(bound), ErrOutOfDisk):
		failed.Err = ErrOutOfDisk
		if step == StepCompile {
			failed.Kind = CompileFailed
		}
	case bound.Err() != nil:
		failed.Kind, failed.Err = TimedOut, r.waited(step)
	case r.outOfMemory(ctx):
		failed.Err = ErrOutOfMemory
	}
	return failed
}

// waited tells what a time-out waited for, and whose time it was.
func (r *run) waited(step string) error {
	if step == StepPrepare || step == StepPack {
		return fmt.Errorf("waiting for %s when the %v had passed that this step may take", step, r.StepTimeout)
	}
	return fmt.Errorf("waiting for %s when the %v had passed that staging may take", step, r.Timeout)
}

func nameOf(bp buildpack.Buildpack) string {
	if bp.Key() != "" {
		return bp.Key()
	}
	return bp.Path()
}

func (r *run) outOfMemory(ctx context.Context) bool {
	info, err := r.container.Info(ctx)
	return err == nil && slices.Contains(info.Events, container.EventOutOfMemory)
}

// stop ends all processes of the container, whatever has become of ctx.
func (r *run) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := r.container.Stop(ctx, true); err != nil && !errors.Is(err, container.ErrNotFound) {
		r.slog.Error("staging.container.stop.failed", "handle", r.container.Handle(), "error", err)
	}
}

// detect fetches the buildpacks and chooses one.
func (r *run) detect(ctx context.Context) error {
	switch {
	case r.Custom != nil:
		return r.choose(ctx, r.Custom)
	case r.BuildpackKey != "":
		for _, bp := range r.Buildpacks {
			if bp.Key() == r.BuildpackKey {
				return r.choose(ctx, bp)
			}
		}
		return &Error{
			Kind: CompileFailed, Buildpack: r.BuildpackKey,
			Err: fmt.Errorf("there is no buildpack with the key %q", r.BuildpackKey),
		}
	}
	for _, bp := range r.Buildpacks {
		if err := r.choose(ctx, bp); err != nil {
			return err
		}
		name, ok, err := bp.Detect(ctx, r.build)
		if err != nil {
			return err
		}
		if ok {
			r.result.DetectedBuildpack = name
			return nil
		}
	}
	r.chosen = nil
	return &Error{Kind: NoAppDetected}
}

func (r *run) choose(ctx context.Context, bp buildpack.Buildpack) error {
	r.chosen, r.result.BuildpackKey = bp, bp.Key()
	if err := bp.Prepare(ctx, r.build); err != nil {
		return &Error{Kind: BuildpackFailed, Err: err}
	}
	return r.moveTo(ctx, bp.Root())
}

func (r *run) compile(ctx context.Context) error {
	err := r.chosen.Compile(ctx, r.build)
	if errors.Is(err, buildpack.ErrNotDetected) {
		return scriptFailure(NoAppDetected, err)
	}
	return scriptFailure(CompileFailed, err)
}

// scriptFailure makes an Error of the failure of a buildpack's program; other errors stay what they are.
func scriptFailure(kind Kind, err error) error {
	var script *buildpack.ScriptError
	if !errors.As(err, &script) {
		return err
	}
	return &Error{Kind: kind, ExitStatus: script.Status, Output: script.Output, Err: err}
}

// bounds are the limits of the archives that go in and out.
func (r *run) bounds() tarball.Limits { return tarball.Limits(r.Limits) }
