package cnb

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

const maxProcesses = 1000 // of one buildpack

// A Process is how to start the app, or a part of it.
type Process struct {
	Type      string
	Command   []string // program and arguments; one element for a shell unless Direct
	Args      []string // further arguments, which whoever starts the process may replace
	Direct    bool     // without a shell
	Append    bool     // arguments of whoever starts it come behind Args, instead of replacing them
	Default   bool
	Dir       string // absolute, or from the directory of the app; empty for that itself
	Buildpack string // id of the one that defined it

	execEnv []string
}

var typePattern = regexp.MustCompile(`^[0-9A-Za-z._-]{1,100}$`)

type tomlProcess struct {
	Type       string
	Command    toml.Primitive
	Args       []string
	Direct     *bool
	Default    bool
	WorkingDir string   `toml:"working-dir"`
	ExecEnv    []string `toml:"exec-env"`
}

// ParseLaunch reads the processes of a launch.toml. Labels and slices are for images only.
func ParseLaunch(file string, data []byte, d *Descriptor) ([]Process, error) {
	var t struct{ Processes []tomlProcess }
	meta, err := decode(file, data, &t)
	if err != nil {
		return nil, err
	}
	if len(t.Processes) > maxProcesses {
		return nil, wrong(file, "processes", "%w: more than %d", ErrTooLarge, maxProcesses)
	}
	var all []Process
	defaults := 0
	for i, raw := range t.Processes {
		p, key, err := raw.process(meta, d.API)
		if err != nil {
			return nil, &FileError{File: file, Key: fmt.Sprintf("processes[%d].%s", i, key), Err: err}
		}
		if p.Default {
			defaults++
		}
		p.Buildpack = d.ID
		all = append(all, p)
	}
	if defaults > 1 {
		return nil, wrong(file, "processes", "%d are the default; at most one can be", defaults)
	}
	return all, nil
}

// process checks a process. With an error it returns the key.
func (t tomlProcess) process(meta toml.MetaData, api API) (p Process, key string, err error) {
	p = Process{Type: t.Type, Args: t.Args, Default: t.Default, Append: !api.CommandIsList(), execEnv: t.ExecEnv}
	if !typePattern.MatchString(t.Type) || t.Type == "." || t.Type == ".." {
		return p, "type", fmt.Errorf("%.60q may have digits, letters and the characters . _ - only", t.Type)
	}
	if api.CommandIsList() {
		if t.Direct != nil {
			return p, "direct", fmt.Errorf("is not a key of Buildpack API %v: no process gets a shell", api)
		}
		p.Direct = true
		if meta.PrimitiveDecode(t.Command, &p.Command) != nil {
			return p, "command", errors.New("must be a list of texts")
		}
	} else {
		p.Direct = t.Direct != nil && *t.Direct
		p.Command = []string{""}
		if meta.PrimitiveDecode(t.Command, &p.Command[0]) != nil {
			return p, "command", fmt.Errorf("must be a text with Buildpack API %v", api)
		}
	}
	if len(p.Command) == 0 || p.Command[0] == "" {
		return p, "command", errors.New("is required")
	}
	if slices.ContainsFunc(append(p.Command, p.Args...), hasNUL) || hasNUL(t.WorkingDir) {
		return p, "command", errors.New("has a NUL byte, which no process can be given")
	}
	if api.WorkingDir() && t.WorkingDir != "" {
		p.Dir = path.Clean(t.WorkingDir)
	}
	if !api.ExecEnv() {
		p.execEnv = nil
	}
	return p, "", nil
}

func hasNUL(s string) bool { return strings.ContainsRune(s, 0) }

// Processes are the processes of all buildpacks of a group.
type Processes struct {
	byType map[string]Process
	def    string // the type of the default; empty if there is none
}

// Add takes in the processes of the next buildpack: they replace earlier ones of the same type. It returns the type of the
// default process that is none any more, because it was replaced by one that does not claim to be.
func (p *Processes) Add(more []Process) (lost string) {
	if p.byType == nil {
		p.byType = map[string]Process{}
	}
	for _, process := range more {
		switch {
		case process.Default:
			p.def, lost = process.Type, ""
		case process.Type == p.def:
			p.def, lost = "", process.Type
		}
		p.byType[process.Type] = process
	}
	return lost
}

// List returns the processes for our execution environment, sorted by type.
func (p *Processes) List() []Process {
	var list []Process
	for _, process := range p.byType {
		if runsHere(process.execEnv) {
			list = append(list, process)
		}
	}
	slices.SortFunc(list, func(a, b Process) int { return strings.Compare(a.Type, b.Type) })
	return list
}

// Web returns the type of the process that serves requests: web, else the default, else the only one there is. It is empty
// when there is none of these.
func (p *Processes) Web() string {
	list := p.List()
	for _, want := range []string{"web", p.def} {
		if slices.ContainsFunc(list, func(process Process) bool { return process.Type == want }) {
			return want
		}
	}
	if len(list) == 1 {
		return list[0].Type
	}
	return ""
}

// ParseUnmet reads the build.toml of a buildpack that was to provide wanted: the names of those that it did not.
func ParseUnmet(file string, data []byte, wanted []Require) (map[string]bool, error) {
	var t struct{ Unmet []struct{ Name string } }
	if _, err := decode(file, data, &t); err != nil {
		return nil, err
	}
	unmet := map[string]bool{}
	for _, u := range t.Unmet {
		if !slices.ContainsFunc(wanted, func(r Require) bool { return r.Name == u.Name }) {
			return nil, wrong(file, "unmet.name", "%.60q was not asked for", u.Name)
		}
		unmet[u.Name] = true
	}
	return unmet, nil
}
