package methods

import (
	"context"
	"errors"
	"fmt"
)

// errRestarting begins with the words by which directors of old know to try again.
var errRestarting = errors.New("restarting agent: ask again when it is back")

// A turn is held by the one that changes the machine.
type turn chan struct{}

// alone calls do when nobody else changes the machine. Whoever waits leaves when ctx ends.
func alone[T any](ctx context.Context, m *Machine, do func() (T, error)) (result T, err error) {
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return result, fmt.Errorf("waiting for another method to end: %w", context.Cause(ctx))
	}
	if ctx.Err() != nil { // both were ready
		return result, context.Cause(ctx)
	}
	if m.restarting.Load() {
		return result, errRestarting
	}
	return do()
}
