package action

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/deakit/deakit/internal/rules"
)

// tags remembers what it learned of types.
var tags = rules.New(nil)

// check applies the validate tags of structs, in lists and maps too.
func check(value reflect.Value) error {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if value.IsNil() {
			return nil
		}
		return check(value.Elem())
	case reflect.Struct:
		return explain(tags.Check(value))
	case reflect.Slice, reflect.Array:
		if !mayBeChecked(value.Type().Elem()) {
			return nil
		}
		for i := range value.Len() {
			if err := check(value.Index(i)); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
	case reflect.Map:
		if !mayBeChecked(value.Type().Elem()) {
			return nil
		}
		for entries := value.MapRange(); entries.Next(); {
			if err := check(entries.Value()); err != nil {
				return fmt.Errorf("%.40q: %w", fmt.Sprint(entries.Key().Interface()), err)
			}
		}
	}
	return nil
}

// mayBeChecked saves looking at each byte of a long list.
func mayBeChecked(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Struct, reflect.Slice, reflect.Array, reflect.Map:
		return true
	default:
		return false
	}
}

// explain names the members by their JSON names, and never what stands in them.
func explain(breaches []rules.Breach) error {
	var texts []string
	for _, b := range breaches {
		text := b.Path + " is required"
		if b.Rule != "required" {
			text = strings.TrimSpace(b.Path + " must satisfy " + b.Rule + " " + b.Param)
		}
		texts = append(texts, text)
	}
	if texts == nil {
		return nil
	}
	return errors.New(strings.Join(texts, "; "))
}

// checkTags finds out now whether the tags of a type can be used.
func checkTags(t reflect.Type) error {
	if err := tags.Learn(t); err != nil {
		return fmt.Errorf("%w: there are required, gte, max, len and dive; all else is for the method itself to check", err)
	}
	return nil
}
