package cnb

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// An Action is what a file of an env directory does to a variable.
type Action string

// The actions. A variable that is empty is the same as one that is not there.
const (
	Override Action = "override"
	Default  Action = "default" // if it has no value yet
	Append   Action = "append"
	Prepend  Action = "prepend"
)

// A Change is one change of a variable.
type Change struct {
	Name   string
	Action Action
	Value  string
	Delim  string // between the old value and Value; not used where there is no old value
}

// Changes returns what the files of an env directory do, by file name. A name is that of the variable, with the action behind
// a dot; without it the action is none. Files with another ending are passed over, as the specification wants it. The
// delimiter of NAME stands in NAME.delim, and is empty without that. Values are taken as they are, to their last newline.
func Changes(dir string, files map[string]string, none Action) ([]Change, error) {
	var changes []Change
	for _, file := range slices.Sorted(maps.Keys(files)) {
		name, ending, hasEnding := strings.Cut(file, ".")
		action := Action(ending)
		if !hasEnding {
			action = none
		}
		if !slices.Contains([]Action{Override, Default, Append, Prepend}, action) {
			continue
		}
		c := Change{Name: name, Action: action, Value: files[file]}
		if action == Append || action == Prepend {
			c.Delim = files[name+".delim"]
		}
		switch {
		case name == "" || strings.Contains(name, "="):
			return nil, wrong(dir+"/"+file, "", "its name is none of a variable")
		case hasNUL(c.Value) || hasNUL(c.Delim):
			return nil, wrong(dir+"/"+file, "", "has a NUL byte, which no variable can hold")
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// pathVariables are the variables that directories of a layer are put in front of, at build and at launch.
var pathVariables = []struct {
	dir           string
	build, launch []string
}{
	{"bin", []string{"PATH"}, []string{"PATH"}},
	{"lib", []string{"LD_LIBRARY_PATH", "LIBRARY_PATH"}, []string{"LD_LIBRARY_PATH"}},
	{"include", []string{"CPATH"}, nil},
	{"pkgconfig", []string{"PKG_CONFIG_PATH"}, nil},
}

func isPathVariable(name string) bool {
	for _, v := range pathVariables {
		if slices.Contains(v.build, name) {
			return true
		}
	}
	return false
}

// KeptVariables are those of the container's environment that programs of buildpacks see.
var KeptVariables = []string{
	"HOME", "HOSTNAME", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "CNB_STACK_ID",
	"PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "PKG_CONFIG_PATH",
}

// Env is an environment under way.
type Env map[string]string

// Apply makes changes.
func (e Env) Apply(changes []Change) {
	for _, c := range changes {
		old := e[c.Name]
		switch {
		case c.Action == Default && old != "":
		case c.Action == Append && old != "":
			e[c.Name] = old + c.Delim + c.Value
		case c.Action == Prepend && old != "":
			e[c.Name] = c.Value + c.Delim + old
		default:
			e[c.Name] = c.Value
		}
	}
}

// WithUser returns a copy with the variables of the user, which win, except that they go in front of lists of directories.
func (e Env) WithUser(user Env) Env {
	all := maps.Clone(e)
	for name, value := range user {
		if old := all[name]; old != "" && isPathVariable(name) {
			value += ":" + old
		}
		all[name] = value
	}
	return all
}

// List returns the environment in the form NAME=value, sorted.
func (e Env) List() []string {
	var list []string
	for name, value := range e {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

// rootChanges are those that the directories of a layer make. has tells whether the layer has one; dir is the layer.
func rootChanges(dir string, has func(string) bool, launch bool) []Change {
	var changes []Change
	for _, v := range pathVariables {
		names := v.build
		if launch {
			names = v.launch
		}
		for _, name := range names {
			if has(v.dir) {
				changes = append(changes, Change{name, Prepend, fmt.Sprintf("%s/%s", dir, v.dir), ":"})
			}
		}
	}
	return changes
}
