package applog

import (
	"context"
	"time"
)

// outlasting returns a context that ends so long after ctx does, or with the function, which must be called.
func outlasting(ctx context.Context, rest time.Duration) (context.Context, func()) {
	longer, end := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		timer := time.NewTimer(rest)
		defer timer.Stop()
		select {
		case <-timer.C:
			end()
		case <-longer.Done():
		}
	})
	return longer, func() {
		end()
		if !stop() {
			<-done
		}
	}
}
