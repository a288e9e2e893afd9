package action

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A Registry holds methods by name. It does not change and may be used from any goroutine.
type Registry struct{ actions map[string]*Action }

// New checks the methods and puts them together. It names every one that cannot be used, or that has the name of another.
func New(methods ...Method) (*Registry, error) {
	r := &Registry{actions: make(map[string]*Action, len(methods))}
	var wrong []error
	for _, m := range methods {
		a, err := newAction(m)
		switch {
		case err != nil:
			wrong = append(wrong, err)
		case r.actions[m.Name] != nil:
			wrong = append(wrong, fmt.Errorf("method %s is there twice", m.Name))
		default:
			r.actions[m.Name] = a
		}
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return r, nil
}

// Lookup finds a method.
func (r *Registry) Lookup(name string) (*Action, bool) {
	a, ok := r.actions[name]
	return a, ok
}

// Names of all methods, sorted.
func (r *Registry) Names() []string { return slices.Sorted(maps.Keys(r.actions)) }
