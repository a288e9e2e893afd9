package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deakit/deakit/agent/internal/process"
	"github.com/deakit/deakit/agent/spec"
)

// The types of Drain.
const (
	DrainUpdate   = "update"   // the machine is to become what a new spec says
	DrainShutdown = "shutdown" // it is to go
	DrainStatus   = "status"   // of a drain before: with Config.Legacy only
)

// maxNumber bounds what is kept of what a drain script says.
const maxNumber = 4 << 10

// A change is what a drain script is told.
type change struct {
	job, hash string
	packages  []string
	env       []string
}

func (c change) args() []string { return append([]string{c.job, c.hash}, c.packages...) }

var statusCheck = change{job: "job_check_status", hash: "hash_unchanged"}

// Drain is drain: it tells the health monitor if the machine is to go, has nobody watch the processes, and runs bin/drain of
// each job that has it, all at the same time, until each is done. next is the new spec; an update needs one. The result is 0.
// A script prints a number: after so many seconds it is done; if it is negative, it is asked again then. Its exit status
// is not looked at. When ctx ends, so do the scripts, and it is a [*CancelledError].
//
// With Config.Legacy, it is one script, whose number is the result, and its exit status counts.
func (r *Runner) Drain(ctx context.Context, kind string, next *spec.Spec) (int, error) {
	current, err := r.cfg.Specs.Load()
	if err != nil {
		return 0, err
	}
	what, err := r.change(kind, current, next)
	if err != nil {
		return 0, err
	}
	if kind == DrainShutdown && r.cfg.NotifyShutdown != nil {
		if err := r.cfg.NotifyShutdown(ctx); err != nil {
			return 0, fmt.Errorf("Notifying shutdown: %w", err)
		}
	}
	if r.cfg.Unmonitor != nil {
		if err := r.cfg.Unmonitor(ctx); err != nil {
			return 0, fmt.Errorf("Unmonitoring services: %w", err)
		}
	}
	if r.cfg.Legacy {
		return r.drainLegacy(ctx, current, what)
	}
	scripts, err := r.find(current, "drain")
	if err != nil {
		return 0, err
	}
	return 0, r.all(ctx, "drain", scripts, func(s script) error { return r.drain(ctx, s, current, what) })
}

// change finds out what to tell, and refuses what cannot be drained.
func (r *Runner) change(kind string, current spec.Spec, next *spec.Spec) (what change, err error) {
	switch kind {
	case DrainUpdate:
		if next == nil && r.cfg.Legacy {
			return what, errors.New("Drain update called without apply spec")
		}
		if next == nil {
			return what, errors.New("Drain update requires new spec")
		}
		what = r.update(current, *next)
	case DrainShutdown:
		what = change{job: "job_shutdown", hash: "hash_unchanged"}
	case DrainStatus:
		if !r.cfg.Legacy {
			return what, errors.New("Unexpected call with drain type 'status'")
		}
		return statusCheck, nil
	default:
		return what, fmt.Errorf("Unknown drain type %.80s", kind)
	}
	if next != nil {
		what.env, err = state("BOSH_JOB_NEXT_STATE", *next)
	}
	return what, err
}

func (r *Runner) update(current, next spec.Spec) change {
	what := change{job: "job_changed", hash: "hash_changed"}
	switch {
	case len(current.Templates()) == 0:
		what.job = "job_new"
	case r.cfg.Legacy && current.Job.SHA1 == next.Job.SHA1:
		what.job = "job_unchanged"
	}
	switch current.ConfigurationHash {
	case "":
		what.hash = "hash_new"
	case next.ConfigurationHash:
		what.hash = "hash_unchanged"
	}
	var changed, added []string
	for _, name := range slices.Sorted(maps.Keys(next.Packages)) {
		before, there := current.Packages[name]
		switch {
		case !there:
			added = append(added, name)
		case before.SHA1 != next.Packages[name].SHA1:
			changed = append(changed, name)
		}
	}
	what.packages = append(changed, added...)
	if !r.cfg.Legacy {
		slices.Sort(what.packages)
	}
	return what
}

// state is what scripts learn of a spec.
func state(name string, s spec.Spec) ([]string, error) {
	data, err := json.Marshal(struct {
		PersistentDisk int `json:"persistent_disk"`
	}{s.PersistentDisk})
	return []string{name + "=" + string(data)}, err
}

// drain runs one script until it is done.
func (r *Runner) drain(ctx context.Context, s script, current spec.Spec, what change) error {
	now, err := state("BOSH_JOB_STATE", current)
	if err != nil {
		return err
	}
	for {
		env, err := r.prepare(append(now, what.env...)...)
		if err != nil {
			return err
		}
		said, _, err := r.ask(ctx, s, what, env)
		if err != nil {
			return err
		}
		seconds, err := strconv.Atoi(strings.TrimSpace(said))
		if err != nil {
			return fmt.Errorf("Script did not return a signed integer, but %.80q", said)
		}
		r.log.Info("script.drain", "job", s.job, "said", seconds)
		if err := pause(ctx, seconds); err != nil || seconds >= 0 {
			return err
		}
		what = statusCheck
	}
}

// ask runs a drain script once and returns what it says.
func (r *Runner) ask(ctx context.Context, s script, what change, env []string) (said string, status int, err error) {
	stdout, stderr := process.NewBounded(maxNumber), process.NewBounded(maxNumber)
	status, err = process.Run(ctx, process.Command{
		Path: s.path, Args: what.args(), Dir: "/", Env: env, Stdout: stdout, Stderr: stderr, Grace: r.cfg.Grace, Register: r.register,
	})
	if text := stderr.String(); text != "" {
		r.log.Debug("script.drain.stderr", "job", s.job, "text", text)
	}
	return stdout.String(), status, err
}

// pause waits for so many seconds, whatever the sign.
func pause(ctx context.Context, seconds int) error {
	const most = math.MaxInt64 / int(time.Second)
	seconds = max(-most, min(seconds, most))
	timer := time.NewTimer(time.Duration(max(seconds, -seconds)) * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
