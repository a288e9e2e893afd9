package cnb

import "fmt"

// maxPlanNames bounds what one plan may name. Those that people write name a dozen.
const maxPlanNames = 1000

// A Plan is what a buildpack wrote at detection: what it would provide and require. Each element is one possibility, the
// first is that which it likes best.
type Plan []Sections

// Sections are what a buildpack would provide and require together.
type Sections struct {
	Requires []Require
	Provides []string
}

// A Require is a dependency that a buildpack wants to be provided, by itself or by one before it.
type Require struct {
	Name     string         `toml:"name"`
	Metadata map[string]any `toml:"metadata"`
}

type tomlSections struct {
	Requires []struct {
		Name     string
		Version  string
		Metadata map[string]any
	}
	Provides []struct{ Name string }
}

// ParsePlan reads the plan that bin/detect wrote; it may be empty.
func ParsePlan(file string, data []byte) (Plan, error) {
	var t struct {
		tomlSections
		Or []tomlSections
	}
	if _, err := decode(file, data, &t); err != nil {
		return nil, err
	}
	var plan Plan
	names := 0
	for i, raw := range append([]tomlSections{t.tomlSections}, t.Or...) {
		where := ""
		if i > 0 {
			where = fmt.Sprintf("or[%d].", i-1)
		}
		s := Sections{}
		for _, p := range raw.Provides {
			if p.Name == "" {
				return nil, wrong(file, where+"provides.name", "is required")
			}
			s.Provides = append(s.Provides, p.Name)
		}
		for _, r := range raw.Requires {
			switch {
			case r.Name == "":
				return nil, wrong(file, where+"requires.name", "is required")
			case r.Version != "":
				return nil, wrong(file, where+"requires.version", "is not supported; put it into the table metadata")
			}
			s.Requires = append(s.Requires, Require{r.Name, r.Metadata})
		}
		if names += 1 + len(s.Provides) + len(s.Requires); names > maxPlanNames {
			return nil, wrong(file, "", "%w: it names more than %d dependencies", ErrTooLarge, maxPlanNames)
		}
		plan = append(plan, s)
	}
	return plan, nil
}

// An Entry is a dependency of the plan of a whole group.
type Entry struct {
	Name      string
	Providers []string // ids of buildpacks
	Requires  []Require
}

// For returns what the buildpack with the given id is to provide.
func For(entries []Entry, id string) []Require {
	var wanted []Require
	for _, e := range entries {
		for _, provider := range e.Providers {
			if provider == id {
				wanted = append(wanted, e.Requires...)
				break
			}
		}
	}
	return wanted
}

// Without returns the entries but for those that were met.
func Without(entries []Entry, met map[string]bool) []Entry {
	var left []Entry
	for _, e := range entries {
		if !met[e.Name] {
			left = append(left, e)
		}
	}
	return left
}

// BuildPlan returns the file that tells bin/build what to provide.
func BuildPlan(wanted []Require) ([]byte, error) {
	return encode(struct {
		Entries []Require `toml:"entries"`
	}{wanted})
}
