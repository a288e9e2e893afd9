package instance

import (
	"context"
	"iter"
	"slices"
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

// run takes back the steps, the last one first, and yields those that failed. Every step is tried; those that failed
// stay, for another run.
func (u *undoStack) run(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		u.mu.Lock()
		steps := u.steps
		u.steps = nil
		u.mu.Unlock()
		var failed []undoStep
		told := true
		for _, step := range slices.Backward(steps) {
			if err := step.undo(ctx); err != nil {
				failed = append(failed, step)
				told = told && yield(step.name, err)
			}
		}
		slices.Reverse(failed)
		u.mu.Lock()
		defer u.mu.Unlock()
		u.steps = append(failed, u.steps...)
	}
}
