package action

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime/debug"
)

// ArgumentError: the arguments do not fit the method, which was not called.
type ArgumentError struct {
	text string
	err  error // may be nil
}

func (e *ArgumentError) Error() string { return e.text }

func (e *ArgumentError) Unwrap() error { return e.err }

// Bind reads arguments, a JSON array or nothing, for one call. Arguments too many are passed over. It fails with an
// *ArgumentError.
func (a *Action) Bind(arguments json.RawMessage) (Call, error) {
	var given []json.RawMessage
	if len(arguments) > 0 {
		if err := json.Unmarshal(arguments, &given); err != nil {
			return nil, &ArgumentError{"Extracting json arguments: arguments must be an array", a.tellable(err)}
		}
	}
	if len(given) < a.required {
		return nil, &ArgumentError{text: fmt.Sprintf(
			"Extracting method arguments from payload: Not enough arguments, expected %d, got %d", a.required, len(given))}
	}
	values := make([]reflect.Value, 1, 1+len(a.params))
	for i, raw := range given {
		if i >= len(a.params) && !a.variadic {
			break
		}
		value, err := read(raw, a.params[min(i, len(a.params)-1)])
		if err != nil {
			return nil, a.refuse(i, err)
		}
		values = append(values, value)
	}
	for i := len(values) - 1; i < len(a.params) && !(a.variadic && i == len(a.params)-1); i++ {
		values = append(values, reflect.Zero(a.params[i]))
	}
	return func(ctx context.Context) (json.RawMessage, error) { return a.call(ctx, values) }, nil
}

// read decodes and checks one argument. Numbers for which the type has no better place keep all their digits. A type that
// breaks on what it reads has refused it.
func read(raw json.RawMessage, t reflect.Type) (_ reflect.Value, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = &PanicError{fault, debug.Stack()}
		}
	}()
	value := reflect.New(t)
	if target, ok := value.Interface().(*json.RawMessage); ok {
		*target = raw
		return value.Elem(), nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(value.Interface()); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("unexpected end of JSON input")
		}
		return value, inTerms(err)
	}
	return value.Elem(), check(value.Elem())
}

// refuse tells what is wrong with an argument. A type may say so with a value in its text, so of secret ones only the member is named,
// and of which kind it must be.
func (a *Action) refuse(i int, err error) error {
	const text = "Extracting method arguments from payload: Unmarshalling action argument"
	if wrong := (*json.UnmarshalTypeError)(nil); a.Secret && errors.As(err, &wrong) {
		return &ArgumentError{text: fmt.Sprintf("%s: argument %d does not fit: %s", text, i+1, shape(wrong))}
	}
	if a.Secret {
		return &ArgumentError{text: fmt.Sprintf("%s: argument %d does not fit", text, i+1)}
	}
	return &ArgumentError{fmt.Sprintf("%s: argument %d: %v", text, i+1, err), err}
}

func (a *Action) tellable(err error) error {
	if a.Secret {
		return nil
	}
	return err
}

// call runs the function, and survives it.
func (a *Action) call(ctx context.Context, values []reflect.Value) (result json.RawMessage, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			result, err = nil, &PanicError{fault, debug.Stack()}
		}
	}()
	in := make([]reflect.Value, len(values))
	copy(in, values)
	in[0] = reflect.ValueOf(ctx)
	out := a.do.Call(in)
	if err, failed := out[1].Interface().(error); failed {
		return nil, err
	}
	return Encode(out[0].Interface())
}

// Encode is the JSON of a result; JSON is its own.
func Encode(result any) (json.RawMessage, error) {
	if raw, ok := result.(json.RawMessage); ok && raw != nil {
		return raw, nil
	}
	data, err := json.Marshal(result)
	if err != nil {
		return nil, fmt.Errorf("result has no JSON: %w", err)
	}
	return data, nil
}
