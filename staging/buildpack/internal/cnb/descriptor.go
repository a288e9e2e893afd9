package cnb

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Descriptor is a buildpack.toml.
type Descriptor struct {
	API                         API // zero where there is an Order
	ID, Version, Name, Homepage string
	ClearEnv                    bool     // no variables of the user in the environment of the programs
	ExecEnv                     []string // execution environments that it is for; empty means all
	Targets                     []Target // empty means all
	Order                       Order    // not empty for a composite buildpack
}

// A Target is an operating system and a processor. An empty field means any.
type Target struct {
	OS, Arch, Variant string
	Distros           []Distro // empty means any; else one of them
}

func (t Target) String() string {
	words := []string{t.OS, t.Arch, t.Variant}
	for _, d := range t.Distros {
		words = append(words, d.Name, d.Version)
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// A Distro is a distribution of an operating system, in the words of /etc/os-release.
type Distro struct {
	Name    string `toml:"name"`    // ID
	Version string `toml:"version"` // VERSION_ID
}

var (
	idPattern      = regexp.MustCompile(`^[0-9A-Za-z./-]{1,200}$`)
	versionPattern = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+-]{0,99}$`)
)

// CheckID refuses what is no id of a buildpack: its escaped form names a directory.
func CheckID(id string) error {
	switch {
	case !idPattern.MatchString(id):
		return fmt.Errorf("%.60q may have digits, letters and the characters . / - only, and at most 200 of them", id)
	case slices.Contains([]string{"app", "config", "generated", "sbom", ".", ".."}, id):
		return fmt.Errorf("%q is reserved", id)
	}
	return nil
}

// Escape returns the name of the directory for the buildpack with the given id.
func Escape(id string) string { return strings.ReplaceAll(id, "/", "_") }

// String is the buildpack's id and version: "samples/hello@1.2.0".
func (d *Descriptor) String() string { return d.ID + "@" + d.Version }

// Composite tells whether the buildpack consists of others.
func (d *Descriptor) Composite() bool { return len(d.Order) > 0 }

type tomlTarget struct {
	OS, Arch, Variant string
	ArchVariant       string `toml:"arch-variant"` // what the lifecycle reads
	Distros           []Distro
}

// ParseDescriptor reads a buildpack.toml. hasBuild says whether there is a program bin/build: a buildpack that tells
// nothing of targets is for Linux then.
func ParseDescriptor(file string, data []byte, hasBuild bool) (*Descriptor, error) {
	var t struct {
		API       string
		Buildpack struct {
			ID, Version, Name, Homepage string
			ClearEnv                    bool `toml:"clear-env"`
			ExecEnv                     any  `toml:"exec-env"`
		}
		Order   []tomlGroup
		Targets []tomlTarget
		Stacks  []struct{ ID string }
	}
	if _, err := decode(file, data, &t); err != nil {
		return nil, err
	}
	d := &Descriptor{ID: t.Buildpack.ID, Version: t.Buildpack.Version, Name: t.Buildpack.Name,
		Homepage: t.Buildpack.Homepage, ClearEnv: t.Buildpack.ClearEnv}
	if err := CheckID(d.ID); err != nil {
		return nil, &FileError{File: file, Key: "buildpack.id", Err: err}
	}
	if !versionPattern.MatchString(d.Version) {
		return nil, wrong(file, "buildpack.version", "%.60q is no version; it has the form 1.2.3", d.Version)
	}
	var err error
	if d.API, err = ParseAPI(t.API); err != nil {
		return nil, &FileError{File: file, Key: "api", Err: err}
	}
	if d.Order, err = order(file, t.Order); err != nil {
		return nil, err
	}
	if d.Composite() && hasBuild {
		return nil, wrong(file, "order", "a buildpack that consists of others has no bin/build; remove one of the two")
	}
	if d.ExecEnv, err = execEnvs(t.Buildpack.ExecEnv); err != nil {
		return nil, &FileError{File: file, Key: "buildpack.exec-env", Err: err}
	}
	if !d.API.ExecEnv() {
		d.ExecEnv = nil
	}
	for _, target := range t.Targets {
		if target.Variant == "" {
			target.Variant = target.ArchVariant
		}
		d.Targets = append(d.Targets, Target{target.OS, target.Arch, target.Variant, target.Distros})
	}
	if len(d.Targets) == 0 {
		for _, stack := range t.Stacks {
			d.Targets = append(d.Targets, stackTargets(stack.ID, d.API, len(t.Stacks))...)
		}
	}
	if len(d.Targets) == 0 && hasBuild {
		d.Targets = []Target{{OS: "linux"}}
	}
	return d, nil
}

// stackTargets translates a stack, the older word for what a buildpack is for. Of all others but these two nothing is known.
func stackTargets(id string, api API, stacks int) []Target {
	switch {
	case id == "*":
		return []Target{{}}
	case id == "io.buildpacks.stacks.bionic" && (api.Targets() || stacks == 1):
		return []Target{{OS: "linux", Arch: "amd64", Distros: []Distro{{"ubuntu", "18.04"}}}}
	}
	return nil
}

// execEnvs reads a list of execution environments: of names, or of tables with a name, which the specification has in
// different places.
func execEnvs(v any) ([]string, error) {
	errForm := errors.New("must be a list of names, or of tables with a name")
	var names []string
	add := func(name any) error {
		text, ok := name.(string)
		if !ok {
			return errForm
		}
		names = append(names, text)
		return nil
	}
	switch v := v.(type) {
	case nil:
	case []any:
		for _, name := range v {
			if err := add(name); err != nil {
				return nil, err
			}
		}
	case []map[string]any:
		for _, table := range v {
			if err := add(table["name"]); err != nil {
				return nil, err
			}
		}
	default:
		return nil, errForm
	}
	return names, nil
}

// ExecEnv is the execution environment that we build and start for.
const ExecEnv = "production"

// runsHere tells whether a list of execution environments includes ours.
func runsHere(names []string) bool {
	return len(names) == 0 || slices.Contains(names, ExecEnv) || slices.Contains(names, "*")
}

// Fits tells whether the buildpack is for what we build on, base.
func (d *Descriptor) Fits(base Target) bool {
	fits := func(a, b string) bool { return a == "" || b == "" || a == b }
	return len(d.Targets) == 0 || slices.ContainsFunc(d.Targets, func(t Target) bool {
		return fits(t.OS, base.OS) && fits(t.Arch, base.Arch) && fits(t.Variant, base.Variant) &&
			(len(t.Distros) == 0 || slices.ContainsFunc(t.Distros, func(want Distro) bool {
				return slices.ContainsFunc(base.Distros, func(have Distro) bool {
					return fits(want.Name, have.Name) && fits(want.Version, have.Version)
				})
			}))
	})
}
