// Package rules checks structs by the rules in their validate tags, which are a few of those of github.com/go-playground/validator,
// with the same meaning:
//
//	required  not the zero value; pointers, lists and maps: not nil
//	gte=N     numbers, and lengths of texts, lists and maps: N or more
//	max=N     the same: N or less
//	len=N     the same: N
//	dive      the elements of a list or map are checked too; structs always are
//
// and the caller's own words for texts. The validator itself is for configuration files: what it needs at start, half a megabyte
// of memory for rules that nobody asks for, counts in a process that waits most of the time, and in whatever imports the messages.
package rules

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// A Breach is a field that breaks a rule; of several rules of one field it is the first.
type Breach struct {
	Path  string // in JSON: "limits.mem", "droplets[3].state", "env[A]"
	Rule  string // "gte"
	Param string // "0"
}

// A Set knows rules, and remembers what it learned of types. Its methods may be called from several goroutines at once.
type Set struct {
	words map[string]func(string) bool
	plans sync.Map // of *plan by reflect.Type
}

// New returns a set that has words beside the rules of the package: each tells whether a text is good.
func New(words map[string]func(string) bool) *Set { return &Set{words: maps.Clone(words)} }

// A plan is what has to be looked at in a type of struct.
type plan []field

type field struct {
	index int
	name  string // in JSON; empty for an embedded struct, whose fields are those of the outer one
	rules []rule
	dive  bool
}

type rule struct {
	name, param string
	good        func(reflect.Value) bool
}

// Learn tells whether the tags of a type can be used, and those of the structs in it.
func (s *Set) Learn(t reflect.Type) error { return s.learn(t, map[reflect.Type]bool{}) }

func (s *Set) learn(t reflect.Type, known map[reflect.Type]bool) error {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || known[t] {
		return nil
	}
	known[t] = true
	p, err := s.plan(t)
	if err != nil {
		return err
	}
	for _, f := range p {
		if err := s.learn(t.Field(f.index).Type, known); err != nil {
			return err
		}
	}
	return nil
}

// Check returns what is wrong in a struct, or one that a pointer leads to; anything else has no tags and so no faults. It panics on
// tags that [Set.Learn] refuses.
func (s *Set) Check(value reflect.Value) []Breach {
	for value.Kind() == reflect.Pointer && !value.IsNil() {
		value = value.Elem()
	}
	if value.Kind() != reflect.Struct {
		return nil
	}
	return s.object(nil, "", value)
}

func (s *Set) object(found []Breach, path string, value reflect.Value) []Breach {
	p, err := s.plan(value.Type())
	if err != nil {
		panic(err)
	}
	for _, f := range p {
		at := path
		if f.name != "" {
			at = join(path, f.name)
		}
		found = s.field(found, at, f, value.Field(f.index))
	}
	return found
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (s *Set) field(found []Breach, path string, f field, value reflect.Value) []Breach {
	pointer := false
	for value.Kind() == reflect.Pointer || value.Kind() == reflect.Interface {
		if value.IsNil() {
			if len(f.rules) > 0 {
				found = append(found, Breach{path, f.rules[0].name, f.rules[0].param})
			}
			return found
		}
		value, pointer = value.Elem(), true
	}
	for _, r := range f.rules {
		if pointer && r.name == "required" {
			continue // it is there, whatever it is
		}
		if !r.good(value) {
			return append(found, Breach{path, r.name, r.param})
		}
	}
	if value.Kind() == reflect.Struct {
		return s.object(found, path, value)
	}
	if f.dive {
		return s.elements(found, path, value)
	}
	return found
}

func (s *Set) elements(found []Breach, path string, value reflect.Value) []Breach {
	switch value.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range value.Len() {
			found = s.field(found, path+"["+strconv.Itoa(i)+"]", field{}, value.Index(i))
		}
	case reflect.Map:
		for entries := value.MapRange(); entries.Next(); {
			key := fmt.Sprintf("%.40s", fmt.Sprint(entries.Key().Interface()))
			found = s.field(found, path+"["+key+"]", field{}, entries.Value())
		}
	}
	return found
}

// plan finds out what there is to look at in a type of struct, once.
func (s *Set) plan(t reflect.Type) (plan, error) {
	if known, ok := s.plans.Load(t); ok {
		return known.(plan), nil
	}
	var p plan
	for i := range t.NumField() {
		sf := t.Field(i)
		if !sf.IsExported() {
			continue
		}
		f := field{index: i}
		if !sf.Anonymous {
			name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
			f.name = name
			if name == "" {
				f.name = sf.Name
			}
		}
		var err error
		if f.rules, f.dive, err = s.rules(sf); err != nil {
			return nil, fmt.Errorf("validate tag of %s.%s: %w", t, sf.Name, err)
		}
		if len(f.rules) > 0 || f.dive || mayHoldStruct(sf.Type) {
			p = append(p, f)
		}
	}
	p = slices.Clip(p)
	s.plans.Store(t, p)
	return p, nil
}

func mayHoldStruct(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct || t.Kind() == reflect.Interface
}

func (s *Set) rules(sf reflect.StructField) (rules []rule, dive bool, err error) {
	tag := sf.Tag.Get("validate")
	if tag == "" {
		return nil, false, nil
	}
	for text := range strings.SplitSeq(tag, ",") {
		if dive {
			return nil, false, fmt.Errorf("%q after dive", text)
		}
		name, param, _ := strings.Cut(text, "=")
		if name == "dive" {
			dive = true
			continue
		}
		good, err := s.good(name, param, sf.Type)
		if err != nil {
			return nil, false, err
		}
		rules = append(rules, rule{name, param, good})
	}
	return rules, dive, nil
}

// good is what a rule demands.
func (s *Set) good(name, param string, t reflect.Type) (func(reflect.Value) bool, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if word, ok := s.words[name]; ok {
		if t.Kind() != reflect.String {
			return nil, fmt.Errorf("%s is for texts", name)
		}
		return func(v reflect.Value) bool { return word(v.String()) }, nil
	}
	if name == "required" {
		return present, nil
	}
	compare, ok := map[string]func(size, n float64) bool{
		"gte": func(size, n float64) bool { return size >= n },
		"max": func(size, n float64) bool { return size <= n },
		"len": func(size, n float64) bool { return size == n },
	}[name]
	if !ok {
		return nil, fmt.Errorf("there is no rule %q", name)
	}
	n, err := strconv.ParseFloat(param, 64)
	if err != nil {
		return nil, fmt.Errorf("%s needs a number: %w", name, err)
	}
	if _, ok := size(reflect.Zero(t)); !ok {
		return nil, fmt.Errorf("%s is for numbers, texts, lists and maps", name)
	}
	return func(v reflect.Value) bool { have, _ := size(v); return compare(have, n) }, nil
}

func present(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return !v.IsNil()
	default:
		return !v.IsZero()
	}
}

// size is what rules with a number look at.
func size(v reflect.Value) (float64, bool) {
	switch {
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	}
	switch v.Kind() {
	case reflect.String:
		return float64(utf8.RuneCountInString(v.String())), true
	case reflect.Slice, reflect.Map, reflect.Array:
		return float64(v.Len()), true
	default:
		return 0, false
	}
}
