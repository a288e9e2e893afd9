package action

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/go-playground/validator/v10"
)

// validate is built once: it caches what it learns of each type.
var validate = sync.OnceValue(func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(field reflect.StructField) string {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		return name
	})
	return v
})

// check applies the validate tags of structs, in lists and maps too.
func check(value reflect.Value) error {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if value.IsNil() {
			return nil
		}
		return check(value.Elem())
	case reflect.Struct:
		return explain(validate().Struct(value.Interface()), value.Type().Name())
	case reflect.Slice, reflect.Array:
		if !mayHaveTags(value.Type().Elem()) {
			return nil
		}
		for i := range value.Len() {
			if err := check(value.Index(i)); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
	case reflect.Map:
		if !mayHaveTags(value.Type().Elem()) {
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

// mayHaveTags saves looking at each byte of a long list.
func mayHaveTags(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Struct, reflect.Slice, reflect.Array, reflect.Map:
		return true
	default:
		return false
	}
}

// explain names the members by their JSON names, and never what stands in them.
func explain(err error, typeName string) error {
	var fields validator.ValidationErrors
	if !errors.As(err, &fields) {
		return err
	}
	var texts []string
	for _, f := range fields {
		path := jsonPath(strings.TrimPrefix(f.Namespace(), typeName+"."))
		text := path + " is required"
		if f.Tag() != "required" {
			text = strings.TrimSpace(path + " must satisfy " + f.Tag() + " " + f.Param())
		}
		texts = append(texts, text)
	}
	return errors.New(strings.Join(texts, "; "))
}

// jsonPath turns "Job.name" into "name": the names of embedded types are capital.
func jsonPath(namespace string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(namespace, "."), func(part string) bool {
		return part != "" && part[0] >= 'A' && part[0] <= 'Z'
	}), ".")
}

// checkTags finds out now whether the tags of a type can be used: the validator panics when they cannot.
func checkTags(t reflect.Type) (err error) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("validate tags of %s: %v", t, fault)
		}
	}()
	_ = validate().Struct(reflect.New(t).Interface()) // that a zero value is refused is no matter
	return nil
}
