package cnb

import (
	"context"
	"fmt"
)

// maxSteps bounds the work of a search: hostile plans offer more combinations than anyone can try.
const maxSteps = 2_000_000

// work counts down the steps of a search, and remembers why the last trial was none.
type work struct {
	left   int
	reason string
}

func (w *work) spend(ctx context.Context, steps int) error {
	if w.left -= steps; w.left < 0 {
		return fmt.Errorf("%w: the groups and the build plans of their buildpacks allow too many combinations", ErrTooLarge)
	}
	return ctx.Err()
}

// A candidate is a member of a group whose bin/detect has passed.
type candidate struct {
	*Descriptor
	optional bool
	plan     Plan
}

// An option is a candidate with one of its possibilities.
type option struct {
	*Descriptor
	optional bool
	Sections
}

// firstTrial tries all combinations of what the candidates offer, until one is good: the alternatives of the last vary
// fastest. A candidate may be left out only with its last alternative. It returns nothing when no combination is good.
func firstTrial(ctx context.Context, w *work, rest []candidate, chosen []option) ([]option, []Entry, error) {
	if len(rest) == 0 {
		return trial(ctx, w, chosen)
	}
	for i, s := range rest[0].plan {
		o := option{rest[0].Descriptor, rest[0].optional && i == len(rest[0].plan)-1, s}
		found, entries, err := firstTrial(ctx, w, rest[1:], append(chosen[:len(chosen):len(chosen)], o))
		if err != nil || found != nil {
			return found, entries, err
		}
	}
	return nil, nil, nil
}

// trial drops the optional members whose needs are not met, or which nobody needs, until all is well. It returns nothing
// when that is so for a mandatory one, or when nobody is left.
func trial(ctx context.Context, w *work, group []option) ([]option, []Entry, error) {
	for len(group) > 0 {
		deps := dependencies{}
		if err := w.spend(ctx, deps.fill(group)); err != nil {
			return nil, nil, err
		}
		unhappy := deps.unhappy()
		if len(unhappy) == 0 {
			return group, deps.entries(), nil
		}
		var left []option
		for _, o := range group {
			switch {
			case unhappy[o.ID] == "":
				left = append(left, o)
			case !o.optional:
				w.reason = unhappy[o.ID]
				return nil, nil, nil
			}
		}
		group = left
	}
	return nil, nil, nil
}

// A dependency collects who provides and who requires one name. Ids are unique within a group.
type dependency struct {
	Entry
	early  []string // who requires it before anyone provides it
	unused []string // who provides it, and nobody has required it since
}

type dependencies struct {
	byName map[string]*dependency
	order  []*dependency // as they were first mentioned
}

func (d *dependencies) get(name string) *dependency {
	if d.byName == nil {
		d.byName = map[string]*dependency{}
	}
	if d.byName[name] == nil {
		d.byName[name] = &dependency{Entry: Entry{Name: name}}
		d.order = append(d.order, d.byName[name])
	}
	return d.byName[name]
}

// fill takes a group in, and returns how much work that was. A member may require what it provides itself.
func (d *dependencies) fill(group []option) (steps int) {
	for _, o := range group {
		for _, name := range o.Provides {
			dep := d.get(name)
			dep.unused = append(dep.unused, o.ID)
		}
		for _, r := range o.Requires {
			dep := d.get(r.Name)
			dep.Providers = append(dep.Providers, dep.unused...)
			dep.unused = nil
			if len(dep.Providers) == 0 {
				dep.early = append(dep.early, o.ID)
			} else {
				dep.Requires = append(dep.Requires, r)
			}
		}
		steps += 1 + len(o.Provides) + len(o.Requires)
	}
	return steps
}

// unhappy returns who requires what is not there, or provides what nobody wants, with the reason.
func (d *dependencies) unhappy() map[string]string {
	reasons := map[string]string{}
	for _, dep := range d.order {
		for _, id := range dep.early {
			reasons[id] = fmt.Sprintf("%s requires %.100q, which no buildpack up to it provides", id, dep.Name)
		}
		for _, id := range dep.unused {
			reasons[id] = fmt.Sprintf("%s provides %.100q, which no buildpack from it on requires", id, dep.Name)
		}
	}
	return reasons
}

func (d *dependencies) entries() []Entry {
	var entries []Entry
	for _, dep := range d.order {
		entries = append(entries, dep.Entry)
	}
	return entries
}
