package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptrace"
	"sync"
	"time"
)

// The defaults of the original (dea_ng).
const (
	defaultConnect          = 5 * time.Second
	defaultInactivity       = 30 * time.Second
	defaultUploadInactivity = 300 * time.Second
	defaultPollInactivity   = 10 * time.Second
)

// defaultMaxTime bounds what only trickles, which the time-outs of the original let go on for ever.
const defaultMaxTime = time.Hour

// ErrTimeout: no connection, or no data, within the time allowed.
var ErrTimeout = errors.New("timed out")

// A watch ends a context when a connection takes too long or nothing moves on it. Only time spent on the network
// counts: the watch sleeps while data is worked on here.
type watch struct {
	connect, inactivity time.Duration
	ctx                 context.Context
	cancel              context.CancelCauseFunc

	mu       sync.Mutex
	timer    *time.Timer
	deadline time.Time // zero while the watch sleeps
	why      error
}

// newWatch returns a context for one transfer and its watch. The caller stops the watch.
func newWatch(ctx context.Context, connect, inactivity time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{connect: connect, inactivity: inactivity, ctx: ctx, cancel: cancel}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { w.allow(w.connect, fmt.Errorf("no connection within %s: %w", w.connect, ErrTimeout)) },
		GotConn: func(httptrace.GotConnInfo) { w.moved() },
	})
	return ctx, w
}

// allow gives the transfer d from now, in place of what it had.
func (w *watch) allow(d time.Duration, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() != nil {
		return
	}
	w.why, w.deadline = why, time.Now().Add(d)
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.expire)
		return
	}
	w.timer.Reset(d)
}

func (w *watch) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	// The timer may have gone off while it was being set anew.
	if !w.deadline.IsZero() && !time.Now().Before(w.deadline) {
		w.cancel(w.why)
	}
}

// moved says that data has come or gone, or is about to.
func (w *watch) moved() {
	w.allow(w.inactivity, fmt.Errorf("nothing moved for %s: %w", w.inactivity, ErrTimeout))
}

// pause lets the watch sleep until something moves again.
func (w *watch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = time.Time{}
	if w.timer != nil {
		w.timer.Stop()
	}
}

// stop ends the watch and its context. What the client still does in the background changes nothing about that.
func (w *watch) stop() {
	w.cancel(nil)
	w.pause()
}

// withMaxTime bounds a whole transfer, an hour where max is zero.
func withMaxTime(ctx context.Context, max time.Duration) (context.Context, context.CancelFunc) {
	max = cmp.Or(max, defaultMaxTime)
	return context.WithTimeoutCause(ctx, max, fmt.Errorf("not done within %s: %w", max, ErrTimeout))
}

// tooLong is the error of a body that has more bytes than this.
type tooLong int64

func (n tooLong) Error() string { return fmt.Sprintf("more than %d bytes", int64(n)) }

// body watches the reading of a response body and bounds it.
type body struct {
	r    io.Reader
	w    *watch
	left int64
	max  int64
}

func (b *body) Read(p []byte) (int, error) {
	if int64(len(p))-1 > b.left { // one byte more than allowed tells a body that ends at the limit from one that goes on
		p = p[:b.left+1]
	}
	b.w.moved()
	n, err := b.r.Read(p)
	b.w.pause()
	if b.left -= int64(n); b.left < 0 {
		return 0, tooLong(b.max)
	}
	return n, err
}
