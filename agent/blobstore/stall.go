package blobstore

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrStalled: a server has taken or sent nothing of a blob for ten minutes.
var ErrStalled = errors.New("the server has stalled: nothing was transferred for 10 minutes")

// stallTime is longer than servers may take to answer.
const stallTime = 10 * time.Minute

// A watch ends a transfer in which nothing moves.
type watch struct{ timer *time.Timer }

// watched returns a context that ends by ErrStalled unless something moves. stop ends the watch.
func watched(ctx context.Context) (_ context.Context, w watch, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w = watch{time.AfterFunc(stallTime, func() { cancel(ErrStalled) })}
	return ctx, w, func() {
		w.timer.Stop()
		cancel(nil)
	}
}

// reader tells the watch what is read from r.
func (w watch) reader(r io.Reader) io.Reader { return watchedReader{w, r} }

type watchedReader struct {
	watch watch
	r     io.Reader
}

func (r watchedReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 {
		r.watch.timer.Reset(stallTime)
	}
	return n, err
}
