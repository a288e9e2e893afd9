package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// A Method is a function with a name by which peers call it.
type Method struct {
	// Name on the wire: "mount_disk".
	Name string

	// Do is a function func(context.Context, arguments...) (result, error). Each argument is read from JSON into the type
	// of its parameter; structs are then checked by their validate tags, at any depth: `validate:"required"`,
	// "gte=1", "max=10", "len=2", and "dive" for the elements of a list or map, with the meaning that they have in
	// go-playground/validator. What else there is to check is for Do.
	//
	// Trailing parameters that are pointers may be left out by the caller, or be null, and are nil then; a variadic parameter
	// takes all that is left. A parameter of type json.RawMessage takes anything as it is. The result is sent as its JSON.
	//
	// The context ends when the agent does, and for a task that can be cancelled when it is; its cause says which.
	Do any

	// Async answers at once with a task, and runs Do in it.
	Async bool

	// AsyncSince, when not 0, limits Async to requests of this protocol number or a later one.
	AsyncSince int

	// Cancellable lets cancel_task end the context of a task, whereupon Do has to end and return what it has.
	Cancellable bool

	// Resume, when set, makes tasks survive the agent: when it is back, one that was interrupted has the outcome of Resume, and
	// Do is not called again. So Do must have done its work when the agent ends in the middle of it. One that had not begun is
	// done then.
	Resume func(context.Context) (any, error)

	// BeginsItself, with Resume, says that Do calls task.Begun when it has kept what Resume relies on. If the agent is killed
	// before, Do is called again by the next one, so it may be called twice.
	BeginsItself bool

	// Secret keeps arguments out of error texts. (They are in no log in any case.)
	Secret bool

	// Quick methods do not wait for anything. They are answered however busy the agent is.
	Quick bool
}

// IsAsync tells whether a request of this protocol number is answered with a task.
func (m Method) IsAsync(protocol int) bool { return m.Async && protocol >= m.AsyncSince }

// An Action is a Method that has been checked.
type Action struct {
	Method
	do       reflect.Value
	params   []reflect.Type // without the context; of a variadic one the type of its elements
	required int            // so many of them
	variadic bool
}

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
)

func newAction(m Method) (*Action, error) {
	if m.Name == "" {
		return nil, errors.New("a method has no name")
	}
	do := reflect.ValueOf(m.Do)
	if do.Kind() != reflect.Func || do.IsNil() {
		return nil, fmt.Errorf("method %s: Do is a %T, not a function", m.Name, m.Do)
	}
	t := do.Type()
	if t.NumIn() == 0 || t.In(0) != contextType || t.NumOut() != 2 || t.Out(1) != errorType {
		return nil, fmt.Errorf("method %s: Do is a %s, not a func(context.Context, arguments...) (result, error)", m.Name, t)
	}
	if !m.Async && (m.Cancellable || m.Resume != nil || m.AsyncSince != 0) {
		return nil, fmt.Errorf("method %s: Cancellable, Resume and AsyncSince are for Async methods", m.Name)
	}
	if m.BeginsItself && m.Resume == nil {
		return nil, fmt.Errorf("method %s: BeginsItself is for methods with Resume", m.Name)
	}
	if m.Async && m.Quick {
		return nil, fmt.Errorf("method %s: a Quick method is not Async", m.Name)
	}
	a := &Action{Method: m, do: do, variadic: t.IsVariadic()}
	for i := 1; i < t.NumIn(); i++ {
		param := t.In(i)
		if a.variadic && i == t.NumIn()-1 {
			param = param.Elem()
		}
		if err := checkTags(param); err != nil {
			return nil, fmt.Errorf("method %s: %w", m.Name, err)
		}
		a.params = append(a.params, param)
	}
	a.required = len(a.params)
	if a.variadic {
		a.required--
	}
	for a.required > 0 && a.params[a.required-1].Kind() == reflect.Pointer {
		a.required--
	}
	return a, nil
}

// A PanicError is a function that broke. Its text does not have the stack, which is for the log.
type PanicError struct {
	Value any // what it panicked with
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("internal error: %v", e.Value) }

// A Call is a method with its arguments.
type Call func(context.Context) (json.RawMessage, error)
