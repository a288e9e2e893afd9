package cnb

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/deakit/deakit/container"
)

const maxNesting = 100 // of composite buildpacks, one behind or in another

// ErrNotDetected means that no group of buildpacks takes the app.
var ErrNotDetected = errors.New("no group of buildpacks takes the app")

// An Outcome is how bin/detect of one buildpack ended.
type Outcome struct {
	Status container.ExitStatus // 0 takes the app, 100 does not, others are errors
	Err    error                // why the status does not count: the program could not be run, or its plan was not understood
	Plan   Plan
	Output string
}

// Passed and Failed are the two ways in which bin/detect ends well.
func (o Outcome) Passed() bool { return o.Err == nil && o.Status == 0 }

// Failed tells whether the buildpack does not take the app.
func (o Outcome) Failed() bool { return o.Err == nil && o.Status == 100 }

// A Search finds the first group of an order that takes an app.
type Search struct {
	Base   Target                            // what we build on
	Lookup func(Member) (*Descriptor, error) // finds a buildpack

	// Detect runs bin/detect of buildpacks, at once if it likes, and returns the ends in their order.
	Detect func(context.Context, []*Descriptor) ([]Outcome, error)

	// Runs gets the ends by [Descriptor.String]. A buildpack is run once, in however many groups it is. Order has the names
	// in the order in which they were asked.
	Runs  map[string]Outcome
	Order []string

	// Reason tells why the last group did not go together, where each of its buildpacks would take the app.
	Reason string

	work work
}

// Found is a group that takes an app.
type Found struct {
	Group   []*Descriptor
	Entries []Entry
	Asked   int // how many buildpacks the group had before those were left out that are not needed
}

// Find returns the first group that takes the app, or fails with ErrNotDetected.
func (s *Search) Find(ctx context.Context, order Order) (Found, error) {
	s.work, s.Runs = work{left: maxSteps}, map[string]Outcome{}
	return s.order(ctx, order, nil, nil, false, 0)
}

// order tries groups one after the other, each with what follows it, next. done are the members before. The buildpacks of
// an optional order may be left out as a whole.
func (s *Search) order(ctx context.Context, order Order, done []candidate, next Group, optional bool, depth int) (Found, error) {
	if depth > maxNesting {
		return Found{}, fmt.Errorf("%w: composite buildpacks are nested too deep, or in each other", ErrTooLarge)
	}
	for _, group := range order {
		found, err := s.group(ctx, append(group[:len(group):len(group)], next...), done, depth)
		if !errors.Is(err, ErrNotDetected) {
			return found, err
		}
	}
	if optional {
		return s.group(ctx, next, done, depth)
	}
	return Found{}, ErrNotDetected
}

func (s *Search) group(ctx context.Context, group Group, done []candidate, depth int) (Found, error) {
	if err := s.work.spend(ctx, 1+len(group)); err != nil {
		return Found{}, err
	}
	done = slices.Clone(done)
	for i, m := range group {
		if slices.ContainsFunc(done, func(c candidate) bool { return c.ID == m.ID }) {
			continue
		}
		d, err := s.Lookup(m)
		if err != nil {
			return Found{}, err
		}
		if d.Composite() {
			return s.order(ctx, d.Order, done, group[i+1:], m.Optional, depth+1)
		}
		if runsHere(m.ExecEnv) && runsHere(d.ExecEnv) {
			done = append(done, candidate{Descriptor: d, optional: m.Optional})
		}
	}
	return s.resolve(ctx, done)
}

// resolve runs bin/detect of the members of a group and looks whether what they say goes together.
func (s *Search) resolve(ctx context.Context, group []candidate) (Found, error) {
	var missing []*Descriptor
	for _, c := range group {
		if _, ran := s.Runs[c.String()]; ran {
			continue
		}
		if c.Fits(s.Base) {
			missing = append(missing, c.Descriptor)
		} else {
			s.note(c.Descriptor, Outcome{Err: fmt.Errorf("it is for %v, and this is %v", c.Targets, s.Base)})
		}
	}
	ends, err := s.Detect(ctx, missing)
	if err != nil {
		return Found{}, err
	}
	for i, end := range ends {
		s.note(missing[i], end)
	}
	var passed []candidate
	for _, c := range group {
		outcome := s.Runs[c.String()]
		switch {
		case outcome.Passed():
			c.plan = outcome.Plan
			passed = append(passed, c)
		case !c.optional:
			return Found{}, ErrNotDetected
		}
	}
	s.work.reason = ""
	chosen, entries, err := firstTrial(ctx, &s.work, passed, nil)
	if err != nil {
		return Found{}, err
	}
	if len(chosen) == 0 {
		s.Reason = s.work.reason
		return Found{}, ErrNotDetected
	}
	found := Found{Entries: entries, Asked: len(group)}
	for _, o := range chosen {
		found.Group = append(found.Group, o.Descriptor)
	}
	return found, nil
}

func (s *Search) note(d *Descriptor, o Outcome) {
	s.Runs[d.String()] = o
	s.Order = append(s.Order, d.String())
}
