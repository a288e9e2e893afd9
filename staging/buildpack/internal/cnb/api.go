package cnb

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// An API is a version of the interface between a buildpack and whoever runs it. What differs between versions:
//
//   - 0.7 and later have the types of a layer in the table types.
//   - 0.8 tells paths in variables (CNB_LAYERS_DIR, CNB_PLATFORM_DIR, CNB_BUILD_PLAN_PATH, CNB_BP_PLAN_PATH), besides the
//     arguments, and lets a process have a working-dir.
//   - 0.9 has the command of a process as a list, which no shell sees, and args that whoever starts it may replace.
//   - 0.10 tells the target in variables (CNB_TARGET_OS and others).
//   - 0.12 knows execution environments (CNB_EXEC_ENV, exec-env).
type API struct{ Major, Minor uint64 }

// The versions that are supported: these, and all in between.
var (
	Lowest  = API{0, 7}
	Highest = API{0, 12}
)

// ErrAPI means that the version of the Buildpack API is not supported, or no version.
var ErrAPI = errors.New("Buildpack API is not supported")

var apiPattern = regexp.MustCompile(`^([0-9]{1,9})(?:\.([0-9]{1,9}))?$`)

// ParseAPI reads a version: "0.10", or "1" for "1.0". It fails with ErrAPI.
func ParseAPI(text string) (API, error) {
	parts := apiPattern.FindStringSubmatch(text)
	if parts == nil {
		return API{}, fmt.Errorf("%w: %.40q is no version; it has the form 0.10", ErrAPI, text)
	}
	major, _ := strconv.ParseUint(parts[1], 10, 64) // the pattern leaves nothing that could fail
	minor, _ := strconv.ParseUint("0"+parts[2], 10, 64)
	api := API{major, minor}
	if major != 0 || minor < Lowest.Minor || minor > Highest.Minor {
		return API{}, fmt.Errorf("%w: %v is not between %v and %v", ErrAPI, api, Lowest, Highest)
	}
	return api, nil
}

func (a API) String() string { return fmt.Sprintf("%d.%d", a.Major, a.Minor) }

func (a API) atLeast(minor uint64) bool { return a.Major > 0 || a.Minor >= minor }

// PathsInVariables tells whether paths come in variables too, and not in arguments alone.
func (a API) PathsInVariables() bool { return a.atLeast(8) }

// WorkingDir tells whether a process may have a working directory of its own.
func (a API) WorkingDir() bool { return a.atLeast(8) }

// CommandIsList tells whether a command is a list, always started without a shell.
func (a API) CommandIsList() bool { return a.atLeast(9) }

// Targets tells whether the target is told in variables.
func (a API) Targets() bool { return a.atLeast(10) }

// ExecEnv tells whether there are execution environments.
func (a API) ExecEnv() bool { return a.atLeast(12) }
