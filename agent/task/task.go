package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Func does the work of the task of this id. When its context ends it has to return soon; what it returns counts even then.
type Func func(ctx context.Context, id string) (json.RawMessage, error)

// A Spec describes a task that is to be run.
type Spec struct {
	Method      string
	Do          Func
	Cancellable bool
	Size        int // bytes of what it holds until it has ended, such as its request

	// Persistent, when not nil, is the request as it came. It is kept in the Store until the task has ended.
	Persistent json.RawMessage

	// BeginsItself says that Do calls [Begun] when it has kept what the next process needs; until then that process repeats the
	// task. Without it a persistent task has begun when Do is called.
	BeginsItself bool
}

// An Outcome is what became of a task.
type Outcome struct {
	Value json.RawMessage
	Err   error // not nil: there is no Value
}

// The errors of a Manager. Their texts are those of the Go agent where it has them.
var (
	ErrCancelled    = errors.New("Task was cancelled by user request") // the cause with which the context of a task ends
	ErrNotSupported = errors.New("not supported")                      // a task that cannot be cancelled
	ErrBusy         = errors.New("too many tasks are waiting: ask again when some have ended")
	ErrEnding       = errors.New("the agent is ending: ask again when it is back")
)

// An UnknownError: there is no task of this id, or it has ended so long ago that its outcome was dropped.
type UnknownError struct{ ID string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("Task with id %.80s could not be found", e.ID)
}

// A record is a task in the manager's books.
type record struct {
	id     string
	spec   Spec
	stored bool                    // it is in the Store until it has ended
	fresh  bool                    // it is there as one that waits
	cancel context.CancelCauseFunc // nil until it runs
	done   bool
	ended  time.Time
	result Outcome
	size   int // bytes of the result
	load   int // bytes of what it holds until then
}
