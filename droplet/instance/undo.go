package instance

import (
	"context"
	"iter"
	"sync"
)

// An undoStack remembers how to take back what was done.
type undoStack struct {
	mu    sync.Mutex
	steps []undoStep
}

type undoStep struct {
	name string
	undo func(context.Context) error
}

func (u *undoStack) push(name string, undo func(context.Context) error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.steps = append(u.steps, undoStep{name, undo})
}

// run takes back the steps, the last one first, and yields those that failed. Every step is tried.
func (u *undoStack) run(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		u.mu.Lock()
		steps := u.steps
		u.steps = nil
		u.mu.Unlock()
		told := true
		for n := len(steps) - 1; n >= 0; n-- {
			if err := steps[n].undo(ctx); err != nil && told {
				told = yield(steps[n].name, err)
			}
		}
	}
}
