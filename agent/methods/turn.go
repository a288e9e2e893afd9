package methods

import (
	"context"
	"errors"
	"fmt"
)

var (
	// errRestarting begins with the words by which directors of old know to try again.
	errRestarting = errors.New("restarting agent: ask again when it is back")
	errCrowded    = errors.New("too many requests wait for another one to end: ask again later")
)

// maxWaiting bounds those who hold a turn or wait for it, so that they do not fill the agent's places for direct requests.
const maxWaiting = 32

// A turn is held by one at a time.
type turn struct{ queue, held chan struct{} }

func newTurn() turn { return turn{make(chan struct{}, maxWaiting), make(chan struct{}, 1)} }

// take waits for the turn, until ctx ends.
func (t turn) take(ctx context.Context) (leave func(), err error) {
	select {
	case t.queue <- struct{}{}:
	default:
		return nil, errCrowded
	}
	select {
	case t.held <- struct{}{}:
		leave = func() { <-t.held; <-t.queue }
	case <-ctx.Done():
		<-t.queue
	}
	if ctx.Err() == nil {
		return leave, nil
	}
	if leave != nil { // both were ready
		leave()
	}
	return nil, fmt.Errorf("waiting for another request to end: %w", context.Cause(ctx))
}

// alone calls do when nobody else changes the machine.
func alone[T any](ctx context.Context, m *Machine, do func() (T, error)) (result T, err error) {
	leave, err := m.change.take(ctx)
	if err != nil {
		return result, err
	}
	defer leave()
	if m.ending.Load() {
		return result, errRestarting
	}
	return do()
}
