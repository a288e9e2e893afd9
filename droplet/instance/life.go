package instance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/resources"
	"github.com/deakit/deakit/messaging"
)

// The exit descriptions of dea_ng. Nothing else is told to the outside of why an instance ended, but the first event
// of its container.
const (
	exitedByItself     = "app instance exited"
	exitUndetermined   = "cannot be determined"
	exitUnknown        = "unknown"
	exitNoStartCommand = "missing start command"
	exitFailedToStart  = "failed to start"
)

// Unhealthy is the exit description of an instance that was not ready in time.
const Unhealthy = "failed to accept connections within health check timeout"

// life is what one run of an instance has built up and must take down again.
type life struct {
	*Instance
	undo      undoStack
	container container.Container
	process   container.Process
	alive     context.Context    // ends when the process has ended; then exit is set
	exited    <-chan struct{}    // alive.Done()
	died      context.CancelFunc // ends alive
	exit      exit
	giveUp    context.CancelFunc // ends the wait for the process
	lost      error              // why an instance of an earlier process cannot go on
}

// exit is how the app's process ended.
type exit struct {
	status int // -1 when unknown
	err    error
}

func newLife(i *Instance) *life {
	l := &life{Instance: i}
	l.alive, l.died = context.WithCancel(context.Background())
	l.exited = l.alive.Done()
	return l
}

// whileAlive returns a context that ends with ctx, and also when the instance is told to stop or its process has ended: for
// work that nobody waits for then. The caller calls done.
func (l *life) whileAlive(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	forgetStop, forgetExit := context.AfterFunc(l.stopping, cancel), context.AfterFunc(l.alive, cancel)
	return ctx, func() {
		forgetStop()
		forgetExit()
		cancel()
	}
}

// Run takes the instance through its life. It returns when the instance is STOPPED or CRASHED and everything that it
// had is given back, except what a crash keeps. When ctx ends, the instance is stopped at once, without grace.
func (i *Instance) Run(ctx context.Context) {
	if i.resumed != nil {
		i.resumed.goOn(ctx)
		return
	}
	l := newLife(i)
	if err := i.transition(messaging.Starting, nil); err != nil {
		switch i.Status().State {
		case messaging.Evacuating: // marked before it began: it has to come up all the same
			i.edit(func(s *Status) { s.StartedAt = time.Now() })
		case messaging.Stopping:
			l.end(ctx, err)
			return
		case messaging.Stopped:
			i.reservation.Release()
			return
		default: // a crash of an earlier process, which only waits to be forgotten
			return
		}
	}
	i.log.Info("droplet.starting")
	begun := time.Now()
	err := l.start(ctx)
	if err == nil {
		i.log.Info("instance.start.completed", "duration", time.Since(begun))
		l.watch(ctx)
	}
	l.end(ctx, err)
}

// watch waits until the app ends or is told to, and has it measured meanwhile.
func (l *life) watch(ctx context.Context) {
	sampler := l.parts.Sampler
	if sampler == nil {
		var done func()
		sampler, done = l.ownSampler()
		defer done()
	}
	watch := sampler.Watch(l.container, l.sampled)
	defer watch.Stop()
	select {
	case <-l.exited:
	case <-l.stopping.Done():
	case <-ctx.Done():
	}
}

// ownSampler runs a sampler for this instance alone, until done is called.
func (l *life) ownSampler() (_ *resources.Sampler, done func()) {
	s := resources.NewSampler(resources.SamplerConfig{Interval: l.cfg.SampleInterval})
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { _ = s.Run(ctx) }) // returns nil
	return s, func() {
		cancel()
		work.Wait()
	}
}

func (l *life) sampled(sample resources.Sample, err error) {
	if err != nil {
		l.log.Error("stat-collector.info-retrieval.failed", "error", err)
		return
	}
	l.edit(func(s *Status) { s.Usage, s.CPU = sample.Usage, sample.CPU })
}

// end brings the instance to STOPPED or CRASHED: exactly one of them, decided by what came first.
func (l *life) end(ctx context.Context, startErr error) {
	if ctx.Err() != nil {
		l.Stop() // told to end by the end of everything
	}
	status, description := l.outcome(startErr)
	err := l.transition(messaging.Crashed, func(s *Status) {
		s.ExitStatus, s.ExitDescription, s.StartError = status, description, startErr
	})
	if err != nil { // STOPPING came first
		l.bringDown(ctx)
		l.reservation.Release()
		if err := l.transition(messaging.Stopped, nil); err != nil {
			l.log.Error("instance.stop.failed", "error", err)
		}
		l.log.Info("instance.stop.completed")
		return
	}
	if startErr != nil {
		l.log.Warn("instance.start.failed", "error", startErr, "exit_description", description)
	} else {
		l.log.Info("droplet.instance.crashed", "exit_status", status, "exit_description", description,
			"memory_limit_mb", l.message.Limits.Mem)
	}
	l.keepLogs()
	_ = l.takeDown() // told in the log; the container is an orphan then, which the node removes
	l.announce(func(s *Status) { s.Handle = "" })
	keep := amount(l.message.Limits)
	keep.MemoryBytes = 0
	if err := l.reservation.Resize(keep); err != nil && !errors.Is(err, resources.ErrReleased) { // it may be forgotten already
		l.log.Error("instance.crash.reservation", "error", err)
	}
}

// outcome says with which status and description the instance ended, if it crashed. A process that has ended explains
// more than the step that failed because of it; but not where the DEA ended before that, which may have taken the rest of the
// script that starts the app with it.
func (l *life) outcome(startErr error) (status int, description string) {
	if errors.Is(startErr, errInterrupted) {
		return -1, startDescription(startErr)
	}
	select {
	case <-l.exited:
	default:
		return -1, startDescription(startErr)
	}
	if l.exit.err != nil {
		return -1, exitUnknown
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	info, err := l.container.Info(ctx)
	switch {
	case err != nil:
		return l.exit.status, exitUndetermined
	case len(info.Events) > 0:
		return l.exit.status, info.Events[0]
	default:
		return l.exit.status, exitedByItself
	}
}

func startDescription(err error) string {
	switch {
	case errors.Is(err, errUnhealthy):
		return Unhealthy
	case errors.Is(err, errNoStartCommand):
		return exitNoStartCommand
	case errors.Is(err, errLost):
		return exitUnknown
	default:
		return exitFailedToStart
	}
}

// bringDown stops and destroys the container, again and again until that works: nothing may be left of what is
// STOPPED. When ctx ends there is one attempt more, without grace.
func (l *life) bringDown(ctx context.Context) {
	if l.container != nil {
		l.log.Info("droplet.stopping")
		if l.process != nil {
			l.drainRoutes(ctx)
			l.stopHook(ctx, "before_stop", l.cfg.Hooks.BeforeStop)
			l.stopByScript(ctx)
			l.stopHook(ctx, "after_stop", l.cfg.Hooks.AfterStop)
		}
	}
	for {
		last := ctx.Err() != nil
		err := l.stopContainer(ctx)
		if err == nil || last {
			err = l.takeDown()
		}
		if err == nil || last {
			return
		}
		l.log.Warn("instance.stop.failed", "error", err, "retry", l.cfg.StopRetry)
		select {
		case <-time.After(l.cfg.StopRetry):
		case <-l.again:
		case <-ctx.Done():
		}
	}
}

// drainRoutes gives routers the time to hear that the routes are gone.
func (l *life) drainRoutes(ctx context.Context) {
	if l.cfg.RouteDrain == 0 || len(l.Status().URIs) == 0 {
		return
	}
	select {
	case <-time.After(l.cfg.RouteDrain):
	case <-l.exited:
	case <-ctx.Done():
	}
}

// stopContainer ends the app with TERM, and with KILL when it does not listen, or at once when ctx has ended.
func (l *life) stopContainer(ctx context.Context) error {
	if l.container == nil || ctx.Err() != nil {
		return nil
	}
	err := l.container.Stop(ctx, false)
	if errors.Is(err, container.ErrNotFound) || ctx.Err() != nil {
		return nil // gone, or about to be destroyed
	}
	return err
}

// takeDown undoes what the start sequence did; what cannot be undone can be tried again. It is not bound to the life
// of the caller: what was made goes.
func (l *life) takeDown() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	for name, err := range l.undo.run(ctx) {
		l.log.Warn("task.destroy.failed", "step", name, "error", err)
		errs = append(errs, fmt.Errorf("%s: %w", name, err))
	}
	if l.process != nil {
		l.giveUp() // the process is gone with its container; one that is not cannot be waited for either
		<-l.exited
	}
	return errors.Join(errs...)
}

// spawned follows the app's process until it ends.
func (l *life) spawned(process container.Process) {
	var ctx context.Context
	ctx, l.giveUp = context.WithCancel(context.Background())
	l.process = process
	go func() {
		defer l.died()
		status, err := process.Wait(ctx)
		l.exit = exit{int(status), err}
		l.log.Debug("droplet.warden.link.completed", "exit_status", status)
	}()
}

// exitedError says that the process ended while something else was awaited.
func (l *life) exitedError() error {
	if l.exit.err != nil {
		return l.exit.err
	}
	return fmt.Errorf("the app ended with status %d", l.exit.status)
}
