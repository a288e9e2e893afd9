// Package envflag reads the option --env of programs: NAME=VALUE, or NAME alone, which passes a variable of the program on.
package envflag

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// variableName is that of POSIX, and what Java and others make of it.
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// Parse returns entries in the form NAME=VALUE. One without a value is that of the variable of this process, and is left out if
// there is none. Errors have no values, which may be secrets.
func Parse(entries []string) ([]string, error) {
	env := []string{}
	for _, entry := range entries {
		name, _, given := strings.Cut(entry, "=")
		switch {
		case name == "":
			return nil, errors.New("--env: there is no name: write NAME=value, or NAME")
		case !variableName.MatchString(name):
			return nil, fmt.Errorf("--env: %q is no name of a variable: write NAME=value, or NAME, with letters, digits, _ . and -", name)
		}
		if !given {
			value, found := os.LookupEnv(name)
			if !found {
				continue
			}
			entry = name + "=" + value
		}
		env = append(env, entry)
	}
	return env, nil
}
