package action_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/action"
)

type spec struct {
	Name     string             `json:"name" validate:"required"`
	Packages map[string]pkg     `json:"packages" validate:"dive"`
	Index    *int               `json:"index"`
	Free     any                `json:"free"`
	Count    int64              `json:"count"`
	Inner    struct{ A string } `json:"inner"`
}

type pkg struct {
	SHA1 string `json:"sha1" validate:"required"`
}

type fussy struct{}

func (*fussy) UnmarshalJSON([]byte) error { panic("fussy") }

// echo gives back its arguments.
func echo(result *[]any) func(...any) (string, error) {
	return func(args ...any) (string, error) { *result = args; return "done", nil }
}

func bind(t *testing.T, m action.Method, arguments string) (action.Call, error) {
	t.Helper()
	m.Name = "m"
	r, err := action.New(m)
	require.NoError(t, err)
	a, ok := r.Lookup("m")
	require.True(t, ok)
	return a.Bind(json.RawMessage(arguments))
}

func TestArguments(t *testing.T) {
	var got []any
	keep := echo(&got)
	none := func(context.Context) (string, error) { return keep() }
	one := func(_ context.Context, a string) (string, error) { return keep(a) }
	two := func(_ context.Context, a string, b int) (string, error) { return keep(a, b) }
	optional := func(_ context.Context, a string, b *string) (string, error) {
		if b == nil {
			return keep(a, nil)
		}
		return keep(a, *b)
	}
	rest := func(_ context.Context, a *string, b ...int) (string, error) { return keep(a, b) }
	raw := func(_ context.Context, a json.RawMessage, b any) (string, error) { return keep(string(a), b) }
	five := func(_ context.Context, a, b, c, d string, e map[string]pkg) (string, error) {
		return keep(a, b, c, d, e)
	}
	structured := func(_ context.Context, s spec) (string, error) { return keep(s) }
	listed := func(_ context.Context, s []spec) (string, error) { return keep(len(s)) }
	missing := func(need, have string) string {
		return "Extracting method arguments from payload: Not enough arguments, expected " + need + ", got " + have
	}
	const wrong = "Extracting method arguments from payload: Unmarshalling action argument: argument "
	const notArray = "Extracting json arguments: arguments must be an array"

	for _, c := range []struct {
		do        any
		arguments string
		want      []any
		err       string
	}{
		{none, ``, nil, ""}, {none, `null`, nil, ""}, {none, `[]`, nil, ""}, {none, `[1,{}]`, nil, ""},
		{none, `{}`, nil, notArray}, {none, `"x"`, nil, notArray}, {none, `7`, nil, notArray},
		{one, `["x"]`, []any{"x"}, ""}, {one, `["x","y"]`, []any{"x"}, ""}, {one, `[]`, nil, missing("1", "0")}, {one, ``, nil, missing("1", "0")},
		{one, `[7]`, nil, wrong + "1: must be a string, not a number"},
		{one, `[null]`, []any{""}, ""},
		{two, `["x",2]`, []any{"x", 2}, ""}, {two, `["x"]`, nil, missing("2", "1")},
		{two, `["x",2.5]`, nil, wrong + "2: must be a whole number, not this number"},
		{optional, `["x"]`, []any{"x", nil}, ""}, {optional, `["x",null]`, []any{"x", nil}, ""}, {optional, `["x","y",1]`, []any{"x", "y"}, ""},
		{optional, `[]`, nil, missing("1", "0")},
		{rest, `[]`, []any{(*string)(nil), []int{}}, ""}, {rest, `["a",1,2]`, []any{new("a"), []int{1, 2}}, ""},
		{rest, `["a",1,"x"]`, nil, wrong + "3: must be a whole number, not a string"},
		{raw, `[{"a" : 1},12345678901234567890.5]`, []any{`{"a" : 1}`, json.Number("12345678901234567890.5")}, ""},
		{five, `["a","b","c","d",{"q":{"sha1":"s"}}]`, []any{"a", "b", "c", "d", map[string]pkg{"q": {"s"}}}, ""},
		{five, `["a","b","c","d",{"q":{}}]`, nil, wrong + `5: "q": sha1 is required`},
		{structured, `[{"NAME":"n","free":12345678901234567890,"count":9007199254740993,"unknown":[]}]`,
			[]any{spec{Name: "n", Free: json.Number("12345678901234567890"), Count: 9007199254740993}}, ""},
		{structured, `[{}]`, nil, wrong + "1: name is required"},
		{structured, `[{"name":"n","packages":{"q":{}}}]`, nil, wrong + "1: packages[q].sha1 is required"},
		{structured, `["x"]`, nil, wrong + "1: must be an object, not a string"},
		{listed, `[[{"name":"n"},{}]]`, nil, wrong + "1: element 1: name is required"},
		{func(context.Context, fussy) (string, error) { return keep() }, `[1]`, nil, wrong + "1: internal error: fussy"},
	} {
		got = nil
		call, err := bind(t, action.Method{Do: c.do}, c.arguments)
		if c.err != "" {
			var refused *action.ArgumentError
			require.ErrorAs(t, err, &refused, c.arguments)
			assert.Equal(t, c.err, err.Error(), c.arguments)
			continue
		}
		require.NoError(t, err, c.arguments)
		value, err := call(t.Context())
		require.NoError(t, err)
		assert.JSONEq(t, `"done"`, string(value))
		assert.Equal(t, c.want, got, c.arguments)
	}
}

// What is secret is in no error: neither the text of a type nor a number that did not fit.
func TestSecretArguments(t *testing.T) {
	const secret = "4711081547110815"
	for _, arguments := range []string{"[" + secret + "]", secret, `["` + secret + `",` + secret + `]`} {
		_, err := bind(t, action.Method{Secret: true, Do: func(context.Context, string, int8) (string, error) { return "", nil }}, arguments)
		require.Error(t, err)
		for ; err != nil; err = errors.Unwrap(err) {
			assert.NotContains(t, err.Error(), secret)
		}
	}
}

func TestResults(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		do   any
		want string
		err  error
	}{
		{func(context.Context) (struct{}, error) { return struct{}{}, nil }, `{}`, nil},
		{func(context.Context) (*int, error) { return nil, nil }, `null`, nil},
		{func(context.Context) (any, error) { return nil, nil }, `null`, nil},
		{func(context.Context) ([]string, error) { return []string{"a"}, nil }, `["a"]`, nil},
		{func(context.Context) (json.RawMessage, error) { return json.RawMessage(`{"b":1}`), nil }, `{"b":1}`, nil},
		{func(context.Context) (json.RawMessage, error) { return nil, nil }, `null`, nil},
		{func(context.Context) (string, error) { return "x", broken }, ``, broken},
	} {
		call, err := bind(t, action.Method{Do: c.do}, "")
		require.NoError(t, err)
		value, err := call(t.Context())
		assert.Equal(t, c.err, err)
		assert.Equal(t, c.want, string(value))
	}

	call, err := bind(t, action.Method{Do: func(context.Context) (chan int, error) { return nil, nil }}, "")
	require.NoError(t, err)
	_, err = call(t.Context())
	assert.ErrorContains(t, err, "result has no JSON")
	call, err = bind(t, action.Method{Do: func(context.Context) (string, error) { panic("oh") }}, "")
	require.NoError(t, err)
	_, err = call(t.Context())
	var panicked *action.PanicError
	require.ErrorAs(t, err, &panicked)
	assert.Equal(t, "internal error: oh", err.Error())
	assert.Contains(t, string(panicked.Stack), "action_test.go")
}

// One binding may be called again, and by several at a time.
func TestCallsShareNothing(t *testing.T) {
	call, err := bind(t, action.Method{Do: func(ctx context.Context, s string) (string, error) {
		return s + action.RequestOf(ctx).TaskID, nil
	}}, `["x"]`)
	require.NoError(t, err)
	for _, id := range []string{"1", "2"} {
		value, err := call(action.With(t.Context(), action.Request{TaskID: id}))
		require.NoError(t, err)
		assert.Equal(t, `"x`+id+`"`, string(value))
	}
	assert.Zero(t, action.RequestOf(t.Context()))
}

func TestMethodsThatCannotBeUsed(t *testing.T) {
	good := func(context.Context) (string, error) { return "", nil }
	resume := func(context.Context) (any, error) { return nil, nil }
	type badTag struct {
		A string `validate:"nosuchtag"`
	}
	for text, m := range map[string]action.Method{
		"a method has no name":                {Do: good},
		"method a: Do is a <nil>":             {Name: "a"},
		"method b: Do is a int":               {Name: "b", Do: 7},
		"method c: Do is a func()":            {Name: "c", Do: func() {}},
		"method d: Do is a func(string)":      {Name: "d", Do: func(string) (string, error) { return "", nil }},
		"method e: Do is a func(context.Cont": {Name: "e", Do: func(context.Context) error { return nil }},
		"method f: Cancellable":               {Name: "f", Do: good, Cancellable: true},
		"method g: Cancellable":               {Name: "g", Do: good, Resume: resume},
		"method h: a Quick method":            {Name: "h", Do: good, Async: true, Quick: true},
		"method i: validate tag of":           {Name: "i", Do: func(context.Context, []badTag) (int, error) { return 0, nil }},
		"method j: Do is a func":              {Name: "j", Do: (func(context.Context) (string, error))(nil)},
	} {
		_, err := action.New(m)
		assert.ErrorContains(t, err, text)
	}
	_, err := action.New(action.Method{Name: "x", Do: good}, action.Method{Name: "x", Do: good}, action.Method{Name: "y"})
	assert.ErrorContains(t, err, "method x is there twice")
	assert.ErrorContains(t, err, "method y", "all are named")
}

func TestRegistry(t *testing.T) {
	good := func(context.Context) (string, error) { return "", nil }
	r, err := action.New(action.Method{Name: "list_disk", Do: good, Async: true, AsyncSince: 3}, action.Method{Name: "apply", Do: good, Async: true},
		action.Method{Name: "ping", Do: good})
	require.NoError(t, err)
	assert.Equal(t, []string{"apply", "list_disk", "ping"}, r.Names())
	_, ok := r.Lookup("Ping")
	assert.False(t, ok)
	for name, want := range map[string][2]bool{"list_disk": {false, true}, "apply": {true, true}, "ping": {false, false}} {
		a, ok := r.Lookup(name)
		require.True(t, ok)
		assert.Equal(t, want, [2]bool{a.IsAsync(2), a.IsAsync(3)}, name)
	}
}

// FuzzBind gives any arguments to methods of all kinds: they are taken or refused, never more.
func FuzzBind(f *testing.F) {
	r, err := action.New(
		action.Method{Name: "struct", Do: func(_ context.Context, s spec, _ *[]spec) (spec, error) { return s, nil }},
		action.Method{Name: "rest", Do: func(_ context.Context, a string, b ...map[string]any) (any, error) { return []any{a, b}, nil }},
		action.Method{Name: "raw", Do: func(_ context.Context, a json.RawMessage) (json.RawMessage, error) { return a, nil }},
	)
	require.NoError(f, err)
	for _, seed := range []string{``, `null`, `[]`, `[{"name":"n","packages":{"a":{"sha1":"x"}}},[]]`, `["a",{"b":[1e400]}]`, `[[[[]]]]`, `{"a":1}`, `[`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, arguments []byte) {
		for _, name := range r.Names() {
			a, _ := r.Lookup(name)
			call, err := a.Bind(arguments)
			if err != nil {
				var refused *action.ArgumentError
				require.ErrorAs(t, err, &refused)
				require.True(t, strings.HasPrefix(err.Error(), "Extracting "), err)
				continue
			}
			value, err := call(t.Context())
			require.NoError(t, err)
			require.True(t, json.Valid(value), string(value))
		}
	})
}

func BenchmarkBindAndCall(b *testing.B) {
	r, err := action.New(
		action.Method{Name: "ping", Do: func(context.Context) (string, error) { return "pong", nil }},
		action.Method{Name: "spec", Do: func(_ context.Context, s spec) (int, error) { return len(s.Packages), nil }},
	)
	require.NoError(b, err)
	for name, arguments := range map[string]string{"ping": `[]`, "spec": `[{"name":"n","packages":{"a":{"sha1":"x"},"b":{"sha1":"y"}}}]`} {
		b.Run(name, func(b *testing.B) {
			a, _ := r.Lookup(name)
			b.ReportAllocs()
			for b.Loop() {
				call, err := a.Bind(json.RawMessage(arguments))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := call(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
