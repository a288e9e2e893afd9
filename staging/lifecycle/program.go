package lifecycle

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// The exit codes of the programs (buildpackapplifecycle).
const (
	ExitFailed      = 1   // all else
	ExitUsage       = 2   // a flag that there is none of
	ExitEnvironment = 3   // Builder: invalid platform options; Launcher: the environment could not be made
	ExitReplace     = 4   // Launcher: bash could not be started
	ExitCredHub     = 4   // Builder: CredHub did not resolve the references
	ExitNotDetected = 222 // no buildpack takes the app
	ExitNotCompiled = 223 // the last buildpack failed
	ExitNotReleased = 224 // its bin/release failed
	ExitNotSupplied = 225 // another buildpack failed
)

// A Process is what a program finds when it starts.
type Process struct {
	Name   string   // by which it was called, for messages; empty means its usual one
	Args   []string // without the name
	Env    []string // in the form NAME=value; of several of a name the last one counts
	Dir    string   // working directory; empty means that of this process
	Stdout io.Writer
	Stderr io.Writer
}

// OfThis returns the process that runs, for a program that is called by name and has args.
func OfThis(name string, args []string) Process {
	return Process{Name: name, Args: args, Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}
}

func (p Process) withDefaults(name string) Process {
	if p.Name == "" {
		p.Name = name
	}
	if p.Stdout == nil {
		p.Stdout = io.Discard
	}
	if p.Stderr == nil {
		p.Stderr = io.Discard
	}
	return p
}

// path returns the absolute path of a file that the process names.
func (p Process) path(name string) (string, error) {
	if !filepath.IsAbs(name) && p.Dir != "" {
		name = filepath.Join(p.Dir, name)
	}
	return filepath.Abs(name)
}

// An ExitError says what the program shall end with.
type ExitError struct {
	Code int
	Err  error // what it tells people on standard error before
}

func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *ExitError) Unwrap() error { return e.Err }

func fail(code int, format string, args ...any) error {
	return &ExitError{Code: code, Err: fmt.Errorf(format, args...)}
}

// Exit tells p's standard error what err says and returns the exit code: 0 for nil, and for the help that was asked for.
func Exit(p Process, err error) int {
	var exit *ExitError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case !errors.As(err, &exit):
		exit = &ExitError{Code: ExitFailed, Err: err}
	}
	if exit.Code != ExitUsage { // which has told more already
		fmt.Fprintln(p.withDefaults("").Stderr, exit.Err)
	}
	return exit.Code
}

// parse parses the flags of the process. Help and complaints go to its standard error.
func (p Process) parse(flags *flag.FlagSet, args []string) error {
	flags.SetOutput(p.Stderr)
	err := flags.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		err = &ExitError{Code: ExitUsage, Err: err}
	}
	return err
}

// A Command is what a program becomes.
type Command struct {
	Path string
	Args []string // with the name
	Env  []string
}

// Replace makes this process the command, in its working directory. It returns only when that fails.
func (c Command) Replace() error {
	err := syscall.Exec(c.Path, c.Args, c.Env)
	return fail(ExitReplace, "start %s: %w", c.Path, err)
}
