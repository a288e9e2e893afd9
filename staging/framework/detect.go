package framework

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"

	"github.com/deakit/deakit/staging/framework/internal/globs"
	"github.com/deakit/deakit/staging/framework/internal/loose"
)

// The bounds of detection.
const (
	maxRules    = 100
	maxPattern  = 2 << 10
	maxLookedAt = 1 << 20  // of one file; what follows is not looked at
	maxLooked   = 64 << 20 // of all files that one Match looks at
)

// ErrRules: detection rules are malformed, or cost too much.
var ErrRules = errors.New("bad detection rules")

// A Rule is one condition that an app meets or does not.
type Rule struct {
	// Glob names files relative to the app, in the form of Ruby's Dir[].
	Glob string

	// Pattern is a regular expression that some file must contain, in which "^" and "$" stand for the ends of lines. The
	// syntax is that of package regexp, in which nearly all expressions of Ruby mean the same; look-around is an error.
	// Empty: only Present counts.
	Pattern string

	// Present says that there must be something under the glob; without it, and without a Pattern, there must be nothing.
	Present bool
}

// Rules hold when all of them do.
type Rules []Rule

// decodeRules reads a list of maps. One map with several globs means the same as several maps.
func decodeRules(v loose.Value) (Rules, error) {
	if k := v.Kind(); k != loose.List && k != loose.Null {
		return nil, fmt.Errorf("%w: detection is no list", ErrRules)
	}
	var rules Rules
	for _, item := range v.Items() {
		if item.Kind() != loose.Map {
			return nil, fmt.Errorf("%w: an element of detection is no map", ErrRules)
		}
		for glob, what := range item.Pairs() {
			rule := Rule{Glob: glob, Present: what.IsTrue()}
			if what.Kind() == loose.String {
				rule.Pattern = what.Text()
				rule.Present = rule.Pattern == "" // which every file contains
			}
			rules = append(rules, rule)
		}
	}
	if len(rules) > maxRules {
		return nil, fmt.Errorf("%w: there are more than %d", ErrRules, maxRules)
	}
	return rules, nil
}

// Match tells whether an app meets all rules. Symbolic links are followed as far as app lets them.
func (r Rules) Match(app fs.FS) (bool, error) {
	left := int64(maxLooked)
	for _, rule := range r {
		names, err := rule.files(app, &left, true)
		if err != nil {
			return false, err
		}
		if wanted := rule.Present || rule.Pattern != ""; wanted != (len(names) > 0) {
			return false, nil
		}
	}
	return true, nil
}

// Files are the files that contain what the rules with patterns look for: in the order of the rules, and sorted bytewise for
// each, so that the first one is always the same.
func (r Rules) Files(app fs.FS) ([]string, error) {
	var all []string
	left := int64(maxLooked)
	for _, rule := range r {
		if rule.Pattern == "" {
			continue
		}
		names, err := rule.files(app, &left, false)
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	return all, nil
}

// files returns what the rule finds; with first, at most the first one. What is left to look at goes down.
func (r Rule) files(app fs.FS, left *int64, first bool) ([]string, error) {
	names, err := globs.Find(app, r.Glob)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRules, err)
	}
	if r.Pattern == "" {
		return names, nil
	}
	if len(r.Pattern) > maxPattern {
		return nil, fmt.Errorf("%w: a pattern has more than %d bytes", ErrRules, maxPattern)
	}
	pattern, err := regexp.Compile("(?m)" + r.Pattern)
	if err != nil {
		return nil, fmt.Errorf("%w: the pattern of %q: %w", ErrRules, r.Glob, err)
	}
	var matching []string
	for _, name := range names {
		if *left <= 0 {
			return nil, fmt.Errorf("%w: they look at more than %d bytes", ErrRules, maxLooked)
		}
		content, ok := beginning(app, name, min(maxLookedAt, *left))
		if *left -= int64(len(content)); !ok || !pattern.Match(content) {
			continue
		}
		matching = append(matching, name)
		if first {
			break
		}
	}
	return matching, nil
}

// beginning reads at most the first bytes of a regular file; not ok means that it is none, or cannot be read.
func beginning(app fs.FS, name string, most int64) (content []byte, ok bool) {
	info, err := fs.Stat(app, name) // before it is opened: opening a FIFO would wait
	if err != nil || !info.Mode().IsRegular() {
		return nil, false
	}
	f, err := app.Open(name)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	content, err = io.ReadAll(io.LimitReader(f, most))
	return content, err == nil
}
