package runtimes

import (
	"fmt"
	"strings"

	"github.com/deakit/deakit/staging/framework/internal/loose"
	"github.com/deakit/deakit/staging/framework/internal/words"
)

// Placeholder stands in startup scripts for the runtime's executable, until the DEA knows where that is (vcap_staging).
const Placeholder = "%VCAP_LOCAL_RUNTIME%"

// Bind puts the path of an executable in the place of each Placeholder of a shell script.
func Bind(script, executable string) string {
	return strings.ReplaceAll(script, Placeholder, words.Quote(executable))
}

// A Runtime is what a request tells of the runtime of an app (runtime_info), and what a catalogue tells of one that is
// installed. All but the name may be missing.
type Runtime struct {
	Name        string
	Version     string // that apps are told, and that plugins compare: "1.9.2p180"
	Description string
	Executable  string // a path, or a name that is looked up

	// VersionFlag are the arguments that make the executable tell its version, as a shell would split them; default "-v".
	// VersionOutput is a regular expression that must match what it prints then. AdditionalChecks are arguments that must
	// make it print "true".
	VersionFlag      string
	VersionOutput    string
	AdditionalChecks string

	// Environment is set for the app by the DEA. A value may refer to other variables, "/opt/ruby/bin:$PATH" for example.
	Environment map[string]string

	DebugModes []string
	DebugEnv   map[string][]string // by mode, in the form NAME=value

	Bundler  string // command of Bundler
	NPM      string // npm, or npm-cli.js; empty means that there is none
	Disabled bool
}

// Parse reads a Runtime from JSON or YAML, as it stands in requests.
func Parse(data []byte) (Runtime, error) {
	v, err := loose.Parse(data)
	if err != nil {
		return Runtime{}, fmt.Errorf("read runtime: %w", err)
	}
	if v.Kind() != loose.Map {
		return Runtime{}, fmt.Errorf("read runtime: it is no map")
	}
	return Decode(v), nil
}

// Decode is Parse for what stands in a larger document. It takes what it understands: peers differ in what they send.
func Decode(v loose.Value) Runtime {
	r := Runtime{
		Name: v.Get("name").Text(), Version: v.Get("version").Text(), Description: v.Get("description").Text(),
		Executable: v.Get("executable").Text(), VersionFlag: v.Get("version_flag").Text(),
		VersionOutput: v.Get("version_output").Text(), AdditionalChecks: v.Get("additional_checks").Text(),
		Bundler: v.Get("bundler").Text(), NPM: v.Get("npm").Text(), Disabled: v.Get("disabled").IsTrue(),
		DebugModes: texts(v.Get("debug_modes")),
	}
	for name, value := range v.Get("environment").Pairs() {
		if r.Environment == nil {
			r.Environment = map[string]string{}
		}
		r.Environment[name] = value.Text() // null is the empty value
	}
	for mode, variables := range v.Get("debug_env").Pairs() {
		if r.DebugEnv == nil {
			r.DebugEnv = map[string][]string{}
		}
		r.DebugEnv[mode] = texts(variables)
	}
	return r
}

func texts(v loose.Value) []string {
	var all []string
	for _, item := range v.Items() {
		all = append(all, item.Text())
	}
	return all
}
