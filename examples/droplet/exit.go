package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/deakit/deakit/droplet"
	"github.com/deakit/deakit/staging"
)

// The exit codes of the program.
const (
	exitOK         = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNotFound   = 10 // no buildpack takes the app
	exitBuildpack  = 11 // a buildpack failed
	exitSource     = 12 // the app's source is refused
	exitFetch      = 13 // a buildpack could not be had
	exitTimeout    = 14
	exitLimit      = 15 // memory or disk
	exitDroplet    = 16 // a droplet or an image is refused
	exitNotStarted = 17
	exitSignal     = 130
)

const exitCodes = `Exit codes:
  0    all went well
  1    something failed; standard error says what
  2    the command line makes no sense, or names a file that is not there
  10   stage: no buildpack takes the app
  11   stage: a buildpack failed, or what it told or left is no app
  12   stage: the source is damaged, hostile or too large
  13   stage: a buildpack could not be fetched, or is none
  14   stage: the time was up; the text says what was waited for
  15   stage: the memory or disk that it may take was used up
  16   the droplet or image is damaged, hostile, or not the one that was asked for
  17   run: the app was not up in time, or could not be started
  130  a signal ended it
Once the app of "run" has ended by itself, its status is that of the program.`

// A codedError ends the program with a code of its own. Remedy is what a person can do, if anything.
type codedError struct {
	code   int
	err    error
	remedy string
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// wrong is a command line that makes no sense.
func wrong(format string, args ...any) error {
	return &codedError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// An appError tells that the app ended with a status other than 0.
type appError struct {
	status int
	why    string
}

func (e *appError) Error() string {
	return fmt.Sprintf("the app ended with status %d: %s", e.status, e.why)
}

// failure is what --json writes of an error.
type failure struct {
	Code       int      `json:"exit_code"`             // of this program
	Message    string   `json:"message"`               // for people
	Remedy     string   `json:"remedy,omitempty"`      // what a person can do
	Kind       string   `json:"kind,omitempty"`        // of a staging that failed
	Phase      string   `json:"phase,omitempty"`       // that failed
	Buildpack  string   `json:"buildpack,omitempty"`   // at work then
	ExitStatus *int     `json:"exit_status,omitempty"` // of the program that failed
	LastLines  []string `json:"last_lines,omitempty"`  // of the log, which may hold secrets of the app
}

// end tells of an error, if there is one, and returns the exit code.
func (e *env) end(err error) int {
	if err == nil {
		return exitOK
	}
	f := describe(err)
	if e.ctx.Err() != nil && f.Code != exitUsage {
		f.Code, f.Remedy, f.Message = exitSignal, "", "ended by a signal"
		if f.Phase != "" {
			f.Message += " while it was at the step " + f.Phase
		}
	}
	if e.json {
		told := struct {
			Error failure `json:"error"`
		}{f}
		write := writeJSON
		if e.lines {
			write = writeLine
		}
		if err := write(e.out, told); err != nil {
			fmt.Fprintln(os.Stderr, "droplet:", err)
		}
		return f.Code
	}
	fmt.Fprintln(os.Stderr, "droplet:", printable(f.Message))
	if e.screen.quiet { // else they stand right above
		for _, line := range f.LastLines {
			fmt.Fprintln(os.Stderr, "   ", e.screen.clean(line))
		}
	}
	if f.Remedy != "" {
		fmt.Fprintln(os.Stderr, "droplet:", f.Remedy)
	}
	return f.Code
}

// describe finds out what an error means to the outside.
func describe(err error) failure {
	f := failure{Code: exitFailed, Message: err.Error()}
	var app *appError
	var member *droplet.MemberError
	switch {
	case errors.As(err, &app):
		f.Code, f.ExitStatus = app.status, &app.status
	case errors.As(err, &member):
		f.Code = exitDroplet
	}
	var failed *staging.Error
	if errors.As(err, &failed) {
		describeStaging(&f, failed)
	}
	var coded *codedError
	if errors.As(err, &coded) {
		f.Code, f.Remedy = coded.code, coded.remedy
	}
	return f
}

func describeStaging(f *failure, err *staging.Error) {
	f.Kind, f.Phase, f.Buildpack, f.LastLines = string(err.Kind), err.Phase, err.Buildpack, err.Tail
	if err.ExitStatus != 0 {
		status := int(err.ExitStatus)
		f.ExitStatus = &status
	}
	switch err.Kind {
	case staging.NoAppDetected:
		f.Code = exitNotFound
		if err.Buildpack == "" { // none is forced
			f.Remedy = "to force one: --buildpack DIR|ZIP|URL|NAME"
		}
	case staging.CompileFailed, staging.ReleaseFailed, staging.ProcfileRefused, staging.DropletRefused:
		f.Code = exitBuildpack
	case staging.PackageRefused:
		f.Code = exitSource
	case staging.BuildpackFailed:
		f.Code = exitFetch
	case staging.TimedOut:
		f.Code, f.Remedy = exitTimeout, "to give it more time: --timeout"
	}
	switch {
	case errors.Is(err, staging.ErrOutOfMemory):
		f.Code, f.Remedy = exitLimit, "to give it more: --memory"
	case errors.Is(err, staging.ErrOutOfDisk):
		f.Code, f.Remedy = exitLimit, "to give it more: --disk"
	}
}

// openFile opens a droplet that the command line names, or the archive of an image. The caller closes it.
func openFile(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, missing(name, err)
	}
	if info.IsDir() {
		if _, err := os.Stat(filepath.Join(name, "oci-layout")); err == nil {
			return nil, &codedError{code: exitUsage, err: fmt.Errorf("%s is an image", name), remedy: "make a droplet of it first: droplet import " + name}
		}
	}
	if !info.Mode().IsRegular() { // one without an end, or which nobody writes to, would be waited for
		return nil, wrong("%s is a %s, and no file", name, kindOf(info))
	}
	return os.Open(name)
}

// missing makes an error of the command line of a name that stands for nothing.
func missing(name string, err error) error {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		err = fmt.Errorf("%s: %w", name, failed.Err) // as it was typed
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return &codedError{code: exitUsage, err: err}
	}
	return err
}
