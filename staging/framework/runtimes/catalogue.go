package runtimes

import (
	_ "embed"
	"fmt"
	"slices"

	"github.com/deakit/deakit/staging/framework/internal/loose"
)

//go:embed catalogue.yml
var today []byte

// An Entry is a runtime of a catalogue.
type Entry struct {
	Runtime
	Aliases     []string // names that mean it to a relaxed resolver
	Executables []string // looked up in this order; "$JAVA_HOME/…" is taken from the environment. Empty means Executable
}

// A Catalogue lists runtimes in the order of its file.
type Catalogue []Entry

// Today is the catalogue of the runtimes that distributions have packages for: ruby, node, python3, php, java, erlang.
func Today() Catalogue {
	c, err := ParseCatalogue(today)
	if err != nil {
		panic(err) // the file is part of this package, and tested
	}
	return c
}

// ParseCatalogue reads a catalogue from YAML or JSON: a map of names to runtimes, as runtimes.yml of the first-generation DEA
// and Cloud Controller, where an entry may also have the lists aliases and executables. Disabled entries are left out.
func ParseCatalogue(data []byte) (Catalogue, error) {
	v, err := loose.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read catalogue of runtimes: %w", err)
	}
	if v.Kind() != loose.Map && v.Kind() != loose.Null {
		return nil, fmt.Errorf("read catalogue of runtimes: it is no map of names to runtimes")
	}
	var c Catalogue
	for name, entry := range v.Pairs() {
		if k := entry.Kind(); k != loose.Map && k != loose.Null {
			return nil, fmt.Errorf("read catalogue of runtimes: %q is no map", name)
		}
		e := Entry{Runtime: Decode(entry), Aliases: texts(entry.Get("aliases")), Executables: texts(entry.Get("executables"))}
		e.Name = name
		if len(e.Executables) == 0 && e.Executable != "" {
			e.Executables = []string{e.Executable}
		}
		if !e.Disabled {
			c = append(c, e)
		}
	}
	return c, nil
}

// find returns the entry of a name; with aliases, also under those.
func (c Catalogue) find(name string, aliases bool) (Entry, bool) {
	for _, e := range c {
		if e.Name == name {
			return e, true
		}
	}
	for _, e := range c {
		if aliases && slices.Contains(e.Aliases, name) {
			return e, true
		}
	}
	return Entry{}, false
}

// Names are the names of runtimes that a resolver accepts, sorted: with aliases, all that mean something to a relaxed one.
func (c Catalogue) Names(aliases bool) []string {
	var names []string
	for _, e := range c {
		names = append(names, e.Name)
		if aliases {
			names = append(names, e.Aliases...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
