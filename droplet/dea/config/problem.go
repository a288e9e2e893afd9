package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Usage is what a DEA says when it is not given exactly one argument (dea_ng).
const Usage = "Usage: dea <config path>"

// maxShown bounds how many problems an error's text lists.
const maxShown = 100

// A LoadError tells that there is no YAML to look at: the file can't be read, or isn't YAML. dea_ng prints the text after
// "ERROR: " and ends with status 1.
type LoadError struct {
	File string // empty when only content was given
	Err  error
}

func (e *LoadError) Error() string {
	if e.File == "" {
		return fmt.Sprintf("Failed loading config: %v", e.Err)
	}
	return fmt.Sprintf("Failed loading config: %s: %v", e.File, e.Err)
}

func (e *LoadError) Unwrap() error { return e.Err }

// An InvalidError lists all that is wrong with a configuration, by line.
type InvalidError struct {
	Problems []Problem // at least one
}

func (e *InvalidError) Error() string {
	const begin = "Validation config failed with error"
	if len(e.Problems) == 1 {
		return begin + ": " + e.Problems[0].String()
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%ss: %d", begin, len(e.Problems))
	for i, p := range e.Problems {
		if i == maxShown {
			fmt.Fprintf(&text, "\n  and %d more", len(e.Problems)-maxShown)
			break
		}
		fmt.Fprintf(&text, "\n  %s", p)
	}
	return text.String()
}

// A Problem is one thing that is wrong. It never repeats a value of the file, which may be a secret.
type Problem struct {
	File string // empty when only content was given
	Line int    // from 1; 0 for what the file lacks as a whole
	Key  string // with its path: "instance.bandwidth_limit.burst", "nats_servers[1]"; empty for the file as a whole
	Text string // "is required"
}

// String returns "dea.yml:12: resources.memory_mb: must be at least 1".
func (p Problem) String() string {
	var text strings.Builder
	switch {
	case p.File != "" && p.Line > 0:
		fmt.Fprintf(&text, "%s:%d: ", p.File, p.Line)
	case p.File != "":
		fmt.Fprintf(&text, "%s: ", p.File)
	case p.Line > 0:
		fmt.Fprintf(&text, "line %d: ", p.Line)
	}
	if p.Key != "" {
		text.WriteString(p.Key + ": ")
	}
	return text.String() + p.Text
}

// A Warning is something that a person should know of, which does not keep the DEA from running.
type Warning Problem

func (w Warning) String() string { return Problem(w).String() }

// inOrder sorts by line. What has none is last.
func inOrder[P Problem | Warning](problems []P) {
	slices.SortStableFunc(problems, func(a, b P) int {
		x, y := Problem(a).Line, Problem(b).Line
		if (x == 0) != (y == 0) {
			return cmp.Compare(y, x)
		}
		return cmp.Compare(x, y)
	})
}
