package framework

import (
	_ "embed"
	"fmt"
	"io/fs"
	"slices"

	"github.com/deakit/deakit/staging/framework/internal/loose"
)

//go:embed frameworks.yml
var frameworks []byte

// A Manifest tells of a framework how its apps are recognised, and what runs them.
type Manifest struct {
	Name      string
	Runtimes  []string // the default first
	Detection Rules    // empty: it is never detected
}

// Manifests are those of the plugins of this package, in a fixed order.
func Manifests() []Manifest {
	all, err := ParseManifests(frameworks)
	if err != nil {
		panic(err) // the file is part of this package, and tested
	}
	return all
}

// DefaultRuntime is the first runtime of a framework of this package; empty where it wants none, or is not known.
func DefaultRuntime(name string) string {
	for _, m := range Manifests() {
		if m.Name == name && len(m.Runtimes) > 0 {
			return m.Runtimes[0]
		}
	}
	return ""
}

// ParseManifests reads manifests from YAML or JSON: a map of names to maps with the keys runtimes, detection and disabled.
// A runtime is a name, or a map of the name to a map in which default may be true, as the Cloud Controller sends it.
// Disabled frameworks are left out.
func ParseManifests(data []byte) ([]Manifest, error) {
	v, err := loose.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read manifests of frameworks: %w", err)
	}
	if v.Kind() != loose.Map {
		return nil, fmt.Errorf("read manifests of frameworks: it is no map of names")
	}
	var all []Manifest
	for name, entry := range v.Pairs() {
		if entry.Get("disabled").IsTrue() {
			continue
		}
		rules, err := decodeRules(entry.Get("detection"))
		if err != nil {
			return nil, fmt.Errorf("read manifest of framework %q: %w", name, err)
		}
		all = append(all, Manifest{Name: name, Runtimes: decodeRuntimeNames(entry.Get("runtimes")), Detection: rules})
	}
	return all, nil
}

// decodeRuntimeNames puts the default first.
func decodeRuntimeNames(v loose.Value) []string {
	var names []string
	for _, item := range v.Items() {
		if item.Kind() != loose.Map {
			names = append(names, item.Text())
			continue
		}
		for name, about := range item.Pairs() {
			if about.Get("default").IsTrue() {
				names = slices.Insert(names, 0, name)
			} else {
				names = append(names, name)
			}
		}
	}
	return names
}

// Detect returns the names of the manifests whose rules an app meets, in their order. Several may: which one is meant is for
// whoever asks to say.
func Detect(app fs.FS, all []Manifest) ([]string, error) {
	var names []string
	for _, m := range all {
		if len(m.Detection) == 0 {
			continue
		}
		ok, err := m.Detection.Match(app)
		if err != nil {
			return nil, fmt.Errorf("detect framework %s: %w", m.Name, err)
		}
		if ok {
			names = append(names, m.Name)
		}
	}
	return names, nil
}

// rulesOf returns the rules that a manifest of this package has for a framework.
func rulesOf(name string) Rules {
	for _, m := range Manifests() {
		if m.Name == name {
			return m.Detection
		}
	}
	return nil
}
