package staging

import (
	"fmt"

	"github.com/deakit/deakit/container"
)

// A Kind is what went wrong with a staging. Kinds are errors, for errors.Is.
type Kind string

// The kinds. The first three are those that the Cloud Controller knows, with their names there (dea_ng).
const (
	NoAppDetected Kind = "NoAppDetectedError"     // no buildpack is for this app
	CompileFailed Kind = "BuildpackCompileFailed" // bin/compile failed, or the buildpack that was named is missing
	ReleaseFailed Kind = "BuildpackReleaseFailed" // bin/release failed, or its output is no YAML

	PackageRefused  Kind = "PackageRefused"  // the app package is damaged, hostile or too large
	ProcfileRefused Kind = "ProcfileRefused" // the Procfile is no map
	DropletRefused  Kind = "DropletRefused"  // what the buildpack left is no app, or is too much for a droplet or a cache
	BuildpackFailed Kind = "BuildpackFailed" // the buildpack could not be fetched
	TimedOut        Kind = "TimedOut"        // Task.Timeout or Task.StepTimeout has passed
	Interrupted     Kind = "Interrupted"     // the caller's context ended
	ContainerFailed Kind = "ContainerFailed" // all else: the container, the disk
)

// Error makes a Kind an error.
func (k Kind) Error() string {
	switch k {
	case NoAppDetected:
		return "An application could not be detected by any available buildpack"
	case CompileFailed:
		return "Buildpack compilation step failed"
	case ReleaseFailed:
		return "Release info failed"
	case PackageRefused:
		return "the app package was refused"
	case ProcfileRefused:
		return "the Procfile was refused"
	case DropletRefused:
		return "what the buildpack made cannot be packed"
	case BuildpackFailed:
		return "the buildpack could not be fetched"
	case TimedOut:
		return "staging timed out"
	case Interrupted:
		return "staging was interrupted"
	}
	return "staging failed"
}

// The names of the steps, in their order.
const (
	StepPrepare = "prepare" // lay out the container, unpack app and cache
	StepDetect  = "detect"  // fetch buildpacks and choose one
	StepCompile = "compile"
	StepRelease = "release" // find out how to start the app
	StepPack    = "pack"    // the droplet and the cache
)

// An Error tells how a staging failed. errors.Is finds Kind and what Err holds.
type Error struct {
	Kind       Kind
	Phase      string               // the step that failed
	Buildpack  string               // key or path of the buildpack at work; empty when there was none
	ExitStatus container.ExitStatus // of the buildpack's program; 0 when there is none
	Output     string               // of bin/release, for ReleaseFailed
	Tail       []string             // the last lines of the log, at most 20; they may hold secrets of the app
	Err        error                // the cause
}

func (e *Error) Error() string {
	if e.Kind == BuildpackFailed && e.Err != nil { // which names it
		return fmt.Sprintf("stage: %v: %v", e.Kind, e.Err)
	}
	where := e.Phase
	if e.Buildpack != "" {
		where += " with buildpack " + e.Buildpack
	}
	text := fmt.Sprintf("stage: %s: %v", where, e.Kind)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns Kind and Err.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }
