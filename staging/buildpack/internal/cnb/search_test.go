package cnb_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/staging/buildpack/internal/cnb"
)

// A world is a set of buildpacks by id, each with the plan that its bin/detect writes, or with "fail" or "error".
type world map[string]string

// plan reads "p:a r:b | r:c": provides a and requires b, or requires c.
func plan(text string) cnb.Plan {
	var plan cnb.Plan
	for part := range strings.SplitSeq(text, "|") {
		s := cnb.Sections{}
		for _, word := range strings.Fields(part) {
			if name, ok := strings.CutPrefix(word, "p:"); ok {
				s.Provides = append(s.Provides, name)
			} else {
				s.Requires = append(s.Requires, cnb.Require{Name: strings.TrimPrefix(word, "r:")})
			}
		}
		plan = append(plan, s)
	}
	return plan
}

// group reads "a b?": a, and b if it likes.
func group(text string) cnb.Group {
	var g cnb.Group
	for _, id := range strings.Fields(text) {
		id, optional := strings.CutSuffix(id, "?")
		g = append(g, cnb.Member{ID: id, Optional: optional})
	}
	return g
}

func order(groups ...string) cnb.Order {
	var o cnb.Order
	for _, g := range groups {
		o = append(o, group(g))
	}
	return o
}

func (w world) search(t *testing.T, composite map[string]cnb.Order, order cnb.Order) (found cnb.Found, ran []string, err error) {
	s := cnb.Search{Base: cnb.Target{OS: "linux"}}
	s.Lookup = func(m cnb.Member) (*cnb.Descriptor, error) {
		if o, ok := composite[m.ID]; ok {
			return &cnb.Descriptor{ID: m.ID, Version: "1", Order: o}, nil
		}
		if _, ok := w[m.ID]; !ok {
			return nil, fmt.Errorf("no buildpack %s", m.ID)
		}
		d := &cnb.Descriptor{ID: m.ID, Version: "1"}
		if w[m.ID] == "windows" {
			d.Targets = []cnb.Target{{OS: "windows"}}
		}
		return d, nil
	}
	s.Detect = func(_ context.Context, missing []*cnb.Descriptor) (ends []cnb.Outcome, _ error) {
		for _, d := range missing {
			ran = append(ran, d.ID)
			outcome := cnb.Outcome{}
			switch w[d.ID] {
			case "fail":
				outcome.Status = 100
			case "error":
				outcome.Status = 1
			case "broken":
				outcome.Err = errors.New("broken")
			default:
				outcome.Plan = plan(w[d.ID])
			}
			ends = append(ends, outcome)
		}
		return ends, nil
	}
	found, err = s.Find(t.Context(), order)
	return found, ran, err
}

func TestResolution(t *testing.T) {
	for name, test := range map[string]struct {
		world     world
		composite map[string]cnb.Order
		order     cnb.Order
		want      string // ids of the group; empty for none
		entries   string // name<providers:number of requires
	}{
		"alone":                            {world{"a": ""}, nil, order("a"), "a", ""},
		"provided by an earlier one":       {world{"a": "p:x", "b": "r:x"}, nil, order("a b"), "a b", "x<a:1"},
		"provided by itself":               {world{"a": "p:x r:x"}, nil, order("a"), "a", "x<a:1"},
		"provided by a later one":          {world{"a": "r:x", "b": "p:x"}, nil, order("a b"), "", ""},
		"nobody wants it":                  {world{"a": "p:x"}, nil, order("a"), "", ""},
		"wanted only before":               {world{"a": "p:x", "b": "r:x p:y"}, nil, order("a b"), "", ""},
		"two provide":                      {world{"a": "p:x", "b": "p:x", "c": "r:x"}, nil, order("a b c"), "a b c", "x<a,b:1"},
		"two require":                      {world{"a": "p:x", "b": "r:x", "c": "r:x"}, nil, order("a b c"), "a b c", "x<a:2"},
		"second alternative":               {world{"a": "p:x|", "b": ""}, nil, order("a b"), "a b", ""},
		"last varies fastest":              {world{"a": "p:x|p:y", "b": "r:y|r:x"}, nil, order("a b"), "a b", "x<a:1"},
		"first good, not best":             {world{"a": "p:x|p:y", "b": "r:y"}, nil, order("a b"), "a b", "y<a:1"},
		"optional that fails":              {world{"a": "fail", "b": ""}, nil, order("a? b"), "b", ""},
		"optional that errs":               {world{"a": "error", "b": ""}, nil, order("a? b"), "b", ""},
		"optional of which none is left":   {world{"a": "fail"}, nil, order("a?"), "", ""},
		"optional not needed":              {world{"a": "p:x", "b": ""}, nil, order("a? b"), "b", ""},
		"optional whose need is not met":   {world{"a": "r:x", "b": ""}, nil, order("a? b"), "b", ""},
		"a dropped one drags another":      {world{"a": "p:x", "b": "r:x p:y", "c": ""}, nil, order("a? b? c"), "c", ""},
		"optional only with its last":      {world{"a": "p:x|p:y", "b": "r:y|"}, nil, order("a? b"), "a b", "y<a:1"},
		"all optional dropped":             {world{"a": "p:x", "b": "p:y"}, nil, order("a? b?"), "", ""},
		"mandatory that fails":             {world{"a": "fail", "b": ""}, nil, order("a b", "b"), "b", ""},
		"mandatory that errs":              {world{"a": "error", "b": ""}, nil, order("a", "b"), "b", ""},
		"plan not understood":              {world{"a": "broken", "b": ""}, nil, order("a", "b"), "b", ""},
		"other target":                     {world{"a": "windows", "b": ""}, nil, order("a", "b"), "b", ""},
		"twice in a group":                 {world{"a": "", "b": ""}, nil, order("a b a"), "a b", ""},
		"composite in place":               {world{"a": "p:x", "b": "r:x", "c": ""}, map[string]cnb.Order{"m": order("a b")}, order("m c"), "a b c", "x<a:1"},
		"composite, second group":          {world{"a": "fail", "b": "", "c": ""}, map[string]cnb.Order{"m": order("a", "b")}, order("c m"), "c b", ""},
		"composite with what follows":      {world{"a": "p:x", "b": "", "c": "r:y"}, map[string]cnb.Order{"m": order("a", "b")}, order("m c?"), "b", ""},
		"composite left out":               {world{"a": "fail", "c": ""}, map[string]cnb.Order{"m": order("a")}, order("m? c"), "c", ""},
		"composite not left out":           {world{"a": "fail", "c": ""}, map[string]cnb.Order{"m": order("a")}, order("m c"), "", ""},
		"composites in each other's place": {world{"a": "fail", "b": "", "c": "", "d": ""}, map[string]cnb.Order{"m": order("n d"), "n": order("a", "b")}, order("m c"), "b d c", ""},
	} {
		t.Run(name, func(t *testing.T) {
			found, ran, err := test.world.search(t, test.composite, test.order)
			if test.want == "" {
				assert.ErrorIs(t, err, cnb.ErrNotDetected)
				return
			}
			require.NoError(t, err)
			var ids, entries []string
			for _, d := range found.Group {
				ids = append(ids, d.ID)
			}
			assert.Equal(t, test.want, strings.Join(ids, " "))
			for _, e := range found.Entries {
				entries = append(entries, fmt.Sprintf("%s<%s:%d", e.Name, strings.Join(e.Providers, ","), len(e.Requires)))
			}
			assert.Equal(t, test.entries, strings.Join(entries, " "))
			slices.Sort(ran)
			assert.Equal(t, slices.Compact(slices.Clone(ran)), ran, "each is run once")
		})
	}
	_, _, err := world{}.search(t, nil, order("missing"))
	assert.ErrorContains(t, err, "no buildpack missing")
}

// Orders and plans that would take for ever.
func TestSearchBombs(t *testing.T) {
	plans := world{}
	var all []string
	for i := range 30 {
		id := fmt.Sprintf("b%d", i)
		all = append(all, id)
		plans[id] = "p:x|p:y|p:z"
	}
	_, _, err := plans.search(t, nil, order(strings.Join(all, " ")))
	assert.ErrorIs(t, err, cnb.ErrTooLarge)

	_, _, err = world{}.search(t, map[string]cnb.Order{"m": order("n"), "n": order("m")}, order("m"))
	assert.ErrorIs(t, err, cnb.ErrTooLarge, "a circle")

	composites := map[string]cnb.Order{}
	var chain []string
	for i := range 40 {
		id := fmt.Sprintf("m%d", i)
		composites[id] = order("no", "never")
		chain = append(chain, id+"?")
	}
	_, _, err = world{"no": "fail", "never": "fail"}.search(t, composites, order(strings.Join(chain, " ")))
	assert.ErrorIs(t, err, cnb.ErrTooLarge)
}

func TestPlans(t *testing.T) {
	p, err := cnb.ParsePlan("f", []byte("[[provides]]\nname='a'\n[[requires]]\nname='a'\n[requires.metadata]\nversion='1'\n[[or]]\n[[or.requires]]\nname='b'\n[[or]]\n"))
	require.NoError(t, err)
	assert.Equal(t, cnb.Plan{
		{Provides: []string{"a"}, Requires: []cnb.Require{{Name: "a", Metadata: map[string]any{"version": "1"}}}},
		{Requires: []cnb.Require{{Name: "b"}}}, {},
	}, p)
	p, err = cnb.ParsePlan("f", nil)
	require.NoError(t, err)
	assert.Equal(t, cnb.Plan{{}}, p)
	_, err = cnb.ParsePlan("f", []byte(strings.Repeat("[[or]]\n", 2000)))
	assert.ErrorIs(t, err, cnb.ErrTooLarge)

	entries := []cnb.Entry{
		{Name: "a", Providers: []string{"one", "two"}, Requires: []cnb.Require{{Name: "a", Metadata: map[string]any{"n": int64(1)}}, {Name: "a"}}},
		{Name: "b", Providers: []string{"two"}, Requires: []cnb.Require{{Name: "b"}}},
	}
	text, err := cnb.BuildPlan(cnb.For(entries, "two"))
	require.NoError(t, err)
	assert.Equal(t, "[[entries]]\nname = \"a\"\n[entries.metadata]\nn = 1\n\n[[entries]]\nname = \"a\"\n\n[[entries]]\nname = \"b\"\n", string(text))
	entries = cnb.Without(entries, map[string]bool{"a": true})
	assert.Len(t, cnb.For(entries, "two"), 1)
	assert.Empty(t, cnb.For(entries, "one"))
}
