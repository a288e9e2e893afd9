package containerkit

import (
	"context"
	"sync"
)

// Await waits until done is closed, or for the end of ctx, whose error it returns then. It does not look at ctx when done is
// closed already.
func Await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// AwaitAll is Await for the goroutines of a group.
func AwaitAll(ctx context.Context, group *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Within returns a context that ends with ctx, and with outer. The caller calls done.
func Within(ctx, outer context.Context) (bounded context.Context, done func()) {
	bounded, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(outer, func() { cancel(context.Cause(outer)) })
	return bounded, func() {
		stop()
		cancel(nil)
	}
}
