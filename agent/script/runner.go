package script

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/deakit/deakit/agent/internal/bundle"
	"github.com/deakit/deakit/agent/internal/process"
	"github.com/deakit/deakit/agent/spec"
)

// scriptPath is the PATH of scripts (both agents).
const scriptPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// Config says where and how a [Runner] runs scripts.
type Config struct {
	Base  string      // base directory; required
	Specs *spec.Store // tells which jobs there are; required

	// Unmonitor is called before drain scripts run, so that the processes which these end are not started again. Nil: nobody
	// watches.
	Unmonitor func(context.Context) error
	// NotifyShutdown tells the health monitor that this machine goes on purpose, before it is drained for that. Nil: nobody is
	// told.
	NotifyShutdown func(context.Context) error

	Env       []string      // KEY=value, for all scripts, beside PATH, TMPDIR and HOME, which it may change
	Grace     time.Duration // between TERM and KILL for a script whose context has ended; default 10 s
	MaxOutput int           // bytes kept of each output of an errand, beginning and end, as JSON has them; default 256 KiB

	// Legacy makes Drain that of the Ruby agent: one script, whose number is the result, for directors of 2014, which wait
	// themselves.
	Legacy bool

	Logger *slog.Logger // nil discards
}

const defaultMaxOutput = 256 << 10

// A Runner runs scripts. Its methods may be called from several goroutines at once.
type Runner struct {
	cfg      Config
	log      *slog.Logger
	register *process.Register
}

// New checks a configuration. It does nothing yet.
func New(cfg Config) (*Runner, error) {
	if cfg.Base == "" || cfg.Specs == nil {
		return nil, errors.New("script: a Config needs Base and Specs")
	}
	base, err := filepath.Abs(cfg.Base)
	if err != nil {
		return nil, fmt.Errorf("script: %w", err)
	}
	cfg.Base = base
	if cfg.MaxOutput < 2 {
		cfg.MaxOutput = defaultMaxOutput
	}
	return &Runner{cfg, cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)), process.NewRegister(cfg.Base, cfg.Logger)}, nil
}

// EndOrphans ends the scripts that an agent with the same base directory left running when it was killed, those of packages that were
// compiled too, as a context that ends does. Call it when no script runs yet.
func (r *Runner) EndOrphans(ctx context.Context) error {
	return r.register.EndOrphans(ctx, r.cfg.Grace)
}

// A CancelledError is a script that was ended because its context was, the cause of which is in it.
type CancelledError struct{ Cause error }

func (e *CancelledError) Error() string { return "Script was cancelled by user request" }

// Unwrap returns the cause of the context.
func (e *CancelledError) Unwrap() error { return e.Cause }

// A FailedError is scripts of one name of which some failed. Why is in the log.
type FailedError struct {
	Script         string // "drain"
	Failed, Passed []string
	Causes         []error // of Failed
}

// Error has the words of the original.
func (e *FailedError) Error() string {
	text := fmt.Sprintf("%d of %d %s scripts failed. Failed Jobs: %s.",
		len(e.Failed), len(e.Failed)+len(e.Passed), e.Script, strings.Join(e.Failed, ", "))
	if len(e.Passed) > 0 {
		text += " Successful Jobs: " + strings.Join(e.Passed, ", ") + "."
	}
	return text
}

// Unwrap returns why they failed.
func (e *FailedError) Unwrap() []error { return e.Causes }

// A script is one of a job that is there.
type script struct{ job, path string }

// find returns the scripts of a name of all jobs that have one, in the order of the jobs.
func (r *Runner) find(s spec.Spec, name string) (all []script, err error) {
	for _, t := range s.Templates() {
		if err := spec.CheckName("job", t.Name); err != nil {
			return nil, err
		}
		found, err := r.at(t.Name, name)
		if err != nil {
			return nil, err
		}
		if found.path != "" {
			all = append(all, found)
		}
	}
	return all, nil
}

// at returns a script of a job, without a path if there is none. Both names have been checked.
func (r *Runner) at(job, name string) (script, error) {
	path := filepath.Join(r.cfg.Base, "jobs", job, "bin", name)
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return script{job: job}, nil
	}
	return script{job, path}, err
}

// all runs scripts at the same time and waits for all.
func (r *Runner) all(ctx context.Context, name string, scripts []script, run func(script) error) error {
	errs := make([]error, len(scripts))
	var wait sync.WaitGroup
	for i, s := range scripts {
		wait.Go(func() { errs[i] = run(s) })
	}
	wait.Wait()
	failed := &FailedError{Script: name}
	for i, s := range scripts {
		if errs[i] == nil {
			failed.Passed = append(failed.Passed, s.job)
			continue
		}
		r.log.Error("script.failed", "script", name, "job", s.job, "error", errs[i])
		failed.Failed = append(failed.Failed, s.job)
		failed.Causes = append(failed.Causes, errs[i])
	}
	switch {
	case len(failed.Failed) == 0:
		return nil
	case ctx.Err() != nil:
		return &CancelledError{context.Cause(ctx)}
	}
	return failed
}

// prepare makes the directory for temporary files and returns the environment of a script.
func (r *Runner) prepare(more ...string) (env []string, err error) {
	const tmp = "data/tmp"
	err = r.within(func(store *bundle.Store) error { return store.MkdirAll(tmp, 0o770) })
	env = process.Environ(scriptPath, filepath.Join(r.cfg.Base, tmp), r.cfg.Env...)
	return append(env, more...), err
}

func (r *Runner) within(do func(*bundle.Store) error) error {
	store, err := bundle.Open(r.cfg.Base, bundle.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	return do(store)
}
