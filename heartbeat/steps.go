package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"
)

// limitSteps returns a context for one HTTP request that ends when connecting, sending or receiving takes longer than
// limit. The caller calls stop when the response was read.
func limitSteps(ctx context.Context, limit time.Duration) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var (
		mu   sync.Mutex
		step = "connecting"
	)
	timer := time.AfterFunc(limit, func() {
		mu.Lock()
		defer mu.Unlock()
		cancel(fmt.Errorf("%s took more than %s", step, limit))
	})
	begin := func(next string) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() == nil { // these calls may come late, from goroutines of the transport
			step = next
			timer.Reset(limit)
		}
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { begin("sending") },
		WroteRequest: func(httptrace.WroteRequestInfo) { begin("receiving") },
	})
	return ctx, func() {
		cancel(nil)
		timer.Stop()
	}
}

// reason takes out of an error of http.Client what it says about the URL, and puts in why ctx ended.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
