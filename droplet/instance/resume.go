package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/messaging"
)

var (
	// errLost: the container or the process of an instance is gone, or was never known.
	errLost = errors.New("nothing is left of the instance")
	// errInterrupted: the process that was starting the instance ended.
	errInterrupted = errors.New("the start was interrupted by the end of the DEA")
)

// Resume takes up an instance that an earlier process left in its snapshot. The caller calls Run, as after New.
//
//   - RUNNING and EVACUATING go on where the container and the app are still there; else Run ends with CRASHED.
//   - STARTING becomes CRASHED, because nobody knows how far the start had come; Run removes what was made.
//   - STOPPING is stopped again by Run.
//   - CRASHED stays what it is, and is told to nobody again.
//
// Memory and disk are reserved whether they fit or not: what runs has to be counted. ctx bounds the look for the
// container. A record that makes no sense is a *RecordError.
func Resume(ctx context.Context, r Record, cfg Config, parts Parts) (*Instance, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	parts.Logger = loggerOf(parts)
	start := r.message()
	keep := amount(start.Limits)
	if r.State == messaging.Crashed {
		keep.MemoryBytes = 0
	}
	reservation, err := parts.Ledger.ReserveAlways(keep)
	if err != nil {
		return nil, &RecordError{r.InstanceID, err.Error()}
	}
	i := build(start, r.InstanceID, r.PrivateInstanceID, cfg, parts, reservation)
	r.restore(&i.status)
	if r.State == messaging.Crashed {
		i.status.State = messaging.Crashed
		if dir := filepath.Join(i.cfg.CrashDir, r.InstanceID); i.cfg.CrashDir != "" && isDirectory(dir) {
			i.status.CrashPath = dir
		}
		return i, nil
	}
	i.status.State = messaging.Resuming
	i.parts.Observe(Change{Instance: i, Status: i.status})
	i.resumed = newLife(i)
	i.resumed.resume(ctx, r)
	return i, nil
}

func isDirectory(name string) bool {
	info, err := os.Lstat(name)
	return err == nil && info.IsDir()
}

// resume finds what is left, and goes into the state that the record tells when that is possible.
func (l *life) resume(ctx context.Context, r Record) {
	err := l.adopt(ctx, r)
	switch {
	case r.State == messaging.Starting:
		l.lost = errInterrupted
	case r.State == messaging.Stopping:
		err = l.transition(messaging.Stopping, nil)
		l.stop()
	case err != nil:
		l.lost = fmt.Errorf("%w: %w", errLost, err)
	case l.ended():
		// Run tells how.
	default:
		err = l.transition(r.State, nil)
	}
	if err != nil {
		l.log.Warn("droplet.resume.failed", "state", r.State, "error", err)
	}
}

// adopt finds the container and the app of a record again. A container that bears another owner's mark is not ours,
// whatever the record says.
func (l *life) adopt(ctx context.Context, r Record) error {
	if r.WardenHandle == nil || *r.WardenHandle == "" {
		return errors.New("the container is not known")
	}
	c, err := l.parts.Backend.Lookup(ctx, *r.WardenHandle)
	if err != nil {
		return err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	if info.Properties[OwnerProperty] != l.cfg.Owner {
		return fmt.Errorf("container %s belongs to %q", c.Handle(), info.Properties[OwnerProperty])
	}
	l.hold(c)
	l.edit(func(s *Status) { s.Container = info })
	if r.WardenJobID == nil {
		return errors.New("the process is not known")
	}
	process, err := c.Attach(ctx, *r.WardenJobID, container.IO{})
	if err != nil {
		return err
	}
	l.edit(func(s *Status) { s.ProcessID = process.ID() })
	l.followLog(true)
	l.spawned(process)
	if !slices.Contains(info.Processes, process.ID()) {
		select { // it has ended, and its status is about to be known
		case <-l.exited:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (l *life) ended() bool {
	select {
	case <-l.exited:
		return true
	default:
		return false
	}
}

// goOn is Run for an instance that was resumed.
func (l *life) goOn(ctx context.Context) {
	if l.Status().Healthy() {
		l.log.Info("droplet.resumed", "since", time.Since(l.Status().StartedAt).Round(time.Second))
		l.watch(ctx)
	}
	l.end(ctx, l.lost)
}
