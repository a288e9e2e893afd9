package containerkit

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/deakit/deakit/container"
)

// What a container is told need not be UTF-8, as JSON demands. These types are written to JSON such that it comes back as it
// was: all text is quoted as Go does.
type (
	// ExactList is an environment.
	ExactList []string
	// ExactMap is written as a list of pairs.
	ExactMap map[string]string
	// ExactMounts are bind mounts.
	ExactMounts []container.BindMount
)

type exact string

func (e exact) MarshalText() ([]byte, error) { return []byte(strconv.Quote(string(e))), nil }

func (e *exact) UnmarshalText(text []byte) error {
	plain, err := strconv.Unquote(string(text))
	*e = exact(plain)
	return err
}

// MarshalJSON writes an array of strings.
func (l ExactList) MarshalJSON() ([]byte, error) {
	var list []exact
	for _, s := range l {
		list = append(list, exact(s))
	}
	return json.Marshal(list)
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (l *ExactList) UnmarshalJSON(text []byte) error {
	var list []exact
	err := json.Unmarshal(text, &list)
	*l = nil
	for _, e := range list {
		*l = append(*l, string(e))
	}
	return err
}

// MarshalJSON writes an array of pairs, sorted.
func (m ExactMap) MarshalJSON() ([]byte, error) {
	var pairs [][2]exact
	for _, k := range slices.Sorted(maps.Keys(m)) {
		pairs = append(pairs, [2]exact{exact(k), exact(m[k])})
	}
	return json.Marshal(pairs)
}

// UnmarshalJSON is the inverse of MarshalJSON; of no pairs it makes nil.
func (m *ExactMap) UnmarshalJSON(text []byte) error {
	var pairs [][2]exact
	err := json.Unmarshal(text, &pairs)
	*m = nil
	if len(pairs) > 0 {
		*m = ExactMap{}
	}
	for _, p := range pairs {
		(*m)[string(p[0])] = string(p[1])
	}
	return err
}

type exactMount struct {
	Src      exact `json:"src"`
	Dst      exact `json:"dst"`
	Writable bool  `json:"writable,omitempty"`
}

// MarshalJSON writes an array of objects.
func (m ExactMounts) MarshalJSON() ([]byte, error) {
	var list []exactMount
	for _, one := range m {
		list = append(list, exactMount{exact(one.Src), exact(one.Dst), one.Writable})
	}
	return json.Marshal(list)
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (m *ExactMounts) UnmarshalJSON(text []byte) error {
	var list []exactMount
	err := json.Unmarshal(text, &list)
	*m = nil
	for _, one := range list {
		*m = append(*m, container.BindMount{Src: string(one.Src), Dst: string(one.Dst), Writable: one.Writable})
	}
	return err
}
