package instance

import (
	"slices"
	"sync"

	"github.com/deakit/deakit/messaging"
)

// A Registry holds the instances of a node. It may be used from any goroutine.
type Registry struct {
	mu        sync.RWMutex
	instances []*Instance // in the order in which they came
}

// Add enters an instance.
func (r *Registry) Add(i *Instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.instances = append(r.instances, i)
}

// Remove forgets an instance; one that is not there is no error.
func (r *Registry) Remove(i *Instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.instances = slices.DeleteFunc(slices.Clone(r.instances), func(other *Instance) bool { return other == i })
}

// All returns the instances in the order in which they came. The caller must not change the slice.
func (r *Registry) All() []*Instance {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clip(r.instances)
}

// Find returns the instance with this id. Ids change with updates, so this looks at all; a node has hundreds.
func (r *Registry) Find(id string) (*Instance, bool) {
	for _, i := range r.All() {
		if i.Status().ID == id {
			return i, true
		}
	}
	return nil, false
}

// Select returns the instances that a filter matches.
func (r *Registry) Select(f messaging.Filter) []*Instance {
	var found []*Instance
	for _, i := range r.All() {
		if i.App() != string(f.Droplet) {
			continue
		}
		if s := i.Status(); f.Matches(i.App(), s.Version, s.ID, i.Index(), s.State) {
			found = append(found, i)
		}
	}
	return found
}

// CountByApp returns how many instances each app has, in any state.
func (r *Registry) CountByApp() map[string]int {
	counts := map[string]int{}
	for _, i := range r.All() {
		counts[i.App()]++
	}
	return counts
}
