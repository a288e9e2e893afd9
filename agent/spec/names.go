package spec

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Names of jobs, packages and scripts become names of files. The lengths are not in the patterns: a counted repetition is
// compiled once for each of its counts, and that memory stays.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9_+~@-][A-Za-z0-9._+~@-]*$`)

const (
	maxName    = 200 // bytes
	maxVersion = 400 // bytes
)

// CheckName returns an [ErrInvalid] unless a name of a job, a package or a script can be the name of a file: letters,
// digits and . _ + ~ @ -, not beginning with a dot, 200 at most. What says what the name is of: "package".
func CheckName(what, name string) error {
	if len(name) > maxName || !namePattern.MatchString(name) {
		return fmt.Errorf("%w: %s name %.80q: give letters, digits and . _ + ~ @ -, not beginning with a dot, 200 at most",
			ErrInvalid, what, name)
	}
	return nil
}

var versionPattern = regexp.MustCompile(`^[A-Za-z0-9._+~@:/-]+$`)

// CheckVersion returns an [ErrInvalid] unless it is a version of a job or package. It may hold slashes, since no file has
// its name, but it does not look like a path that leads elsewhere.
func CheckVersion(what, version string) error {
	bad := len(version) > maxVersion || !versionPattern.MatchString(version) || strings.HasPrefix(version, "/") ||
		slices.Contains(strings.Split(version, "/"), "..")
	if bad {
		return fmt.Errorf(`%w: version %.80q of %s: give letters, digits and . _ + ~ @ : / -, 400 at most, and no ".."`,
			ErrInvalid, version, what)
	}
	return nil
}
