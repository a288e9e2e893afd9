package script

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/agent/internal/bundle"
	"github.com/deakit/deakit/agent/internal/process"
	"github.com/deakit/deakit/agent/spec"
)

// niceBy is how much nicer than the agent these scripts are (bosh-agent).
const niceBy = 5

// Options are the second argument of run_script.
type Options struct {
	Env map[string]string `json:"env"` // in addition
}

// RunScript is run_script: it runs a script of each job that has it, all at the same time, and waits for all. What they write
// is appended to sys/log/JOB/NAME.stdout.log and .stderr.log. A [*FailedError] says in which jobs it failed.
func (r *Runner) RunScript(ctx context.Context, name string, opts Options) (struct{}, error) {
	if err := r.runScript(ctx, name, opts); err != nil {
		return struct{}{}, err
	}
	return struct{}{}, nil
}

func (r *Runner) runScript(ctx context.Context, name string, opts Options) error {
	if err := spec.CheckName("script", name); err != nil {
		return err
	}
	more, err := environ(opts.Env)
	if err != nil {
		return err
	}
	env, err := r.prepare(more...)
	if err != nil {
		return err
	}
	current, err := r.cfg.Specs.Load()
	if err != nil {
		return err
	}
	scripts, err := r.find(current, name)
	if err != nil {
		return err
	}
	return r.all(ctx, name, scripts, func(s script) error { return r.logged(ctx, s, name, env) })
}

// environ turns what a request wants into an environment.
func environ(values map[string]string) (env []string, err error) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if key == "" || strings.ContainsAny(key, "=\x00") || strings.Contains(values[key], "\x00") {
			return nil, fmt.Errorf("%w: %.80q cannot be an environment variable", spec.ErrInvalid, key)
		}
		env = append(env, key+"="+values[key])
	}
	return env, nil
}

// logged runs one script, which writes to its log files. They are as long as it makes them; logrotate shortens them.
func (r *Runner) logged(ctx context.Context, s script, name string, env []string) error {
	stdout, err := r.logFile(s.job, name+".stdout.log")
	if err != nil {
		return err
	}
	defer stdout.Close()
	stderr, err := r.logFile(s.job, name+".stderr.log")
	if err != nil {
		return err
	}
	defer stderr.Close()
	status, err := process.Run(ctx, process.Command{
		Path: s.path, Dir: "/", Env: env, Stdout: stdout, Stderr: stderr, Grace: r.cfg.Grace, Nice: niceBy, Register: r.register,
	})
	if err == nil && status != 0 {
		err = fmt.Errorf("Running script: Command exited with %d; see %s", status, stderr.Name())
	}
	return err
}

// logFile opens a file to append to, in a directory where the users of jobs may have put anything.
func (r *Runner) logFile(job, name string) (f *os.File, err error) {
	err = r.within(func(store *bundle.Store) error {
		if err := store.MakeSys(); err != nil {
			return err
		}
		dir := path.Join("data/sys/log", job)
		if err := store.MkdirAll(dir, 0o770); err != nil {
			return err
		}
		parent, err := store.Root().Open(dir)
		if err != nil {
			return err
		}
		defer parent.Close()
		f, err = appendTo(parent, name)
		return err
	})
	return f, err
}

// appendTo opens a file of a directory, or makes it. It follows no link: os.Root would, to all that is below the base
// directory, whatever the flags are.
func appendTo(parent *os.File, name string) (*os.File, error) {
	const flags = unix.O_APPEND | unix.O_CREAT | unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	full := filepath.Join(parent.Name(), name)
	fd, err := unix.Openat(int(parent.Fd()), name, flags, 0o640)
	for errors.Is(err, unix.EINTR) {
		fd, err = unix.Openat(int(parent.Fd()), name, flags, 0o640)
	}
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%s is a link: remove it", full)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: full, Err: err}
	}
	f := os.NewFile(uintptr(fd), full)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file: remove it", full)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
