package logs

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// ErrPattern: a filter is malformed or too long, or there are too many.
var ErrPattern = errors.New("bad log filter")

// The bounds of filters.
const (
	maxFilters = 100
	maxPattern = 1 << 10 // bytes
	maxForms   = 1000    // that "{a,b}" makes of one
)

// compile returns what tells whether a filter matches a name.
func compile(filters []string) (func(name string) bool, error) {
	if len(filters) == 0 {
		return func(string) bool { return true }, nil
	}
	if len(filters) > maxFilters {
		return nil, fmt.Errorf("%w: there are more than %d", ErrPattern, maxFilters)
	}
	var patterns []string
	for _, filter := range filters {
		if len(filter) > maxPattern || forms(filter) > maxForms || !doublestar.ValidatePattern(filter) {
			return nil, fmt.Errorf("%w: %.80q", ErrPattern, filter)
		}
		patterns = append(patterns, strings.TrimPrefix(path.Clean("/"+filter), "/"))
	}
	return func(name string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool {
			return pattern == "" || doublestar.MatchUnvalidated(pattern, name) // "." is the log directory itself
		})
	}, nil
}

// forms returns as how many patterns one counts, at most.
func forms(filter string) float64 {
	groups, commas := float64(strings.Count(filter, "{")), float64(strings.Count(filter, ","))
	if groups == 0 {
		return 1
	}
	return math.Pow(commas/groups+1, groups)
}
