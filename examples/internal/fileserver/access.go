package fileserver

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/internal/logtext"
)

// An access is a handler that writes a line about each request, after its end, and counts. Of the query it logs the path of the
// file and whether it is a tail: the rest is what lets people read the file. Of the header it logs whom a router forwards for.
type access struct {
	next    http.Handler
	log     *slog.Logger
	counts  counts
	closing atomic.Bool // answers are cut off because the server ends
}

// ServeHTTP passes the panic on by which an answer is ended that is not complete.
func (a *access) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	file, tail := directory.Asked(r.URL.RawQuery)
	a.counts.begin(tail)
	answer := newRecorder(w, r.Method)
	ctx, outcome := directory.WithOutcome(r.Context())
	returned := false
	defer func() {
		complete := returned && answer.whole()
		reason := ""
		if !complete {
			reason = a.cutOffBy(r.Context(), answer, outcome.Err)
		}
		a.counts.end(tail, answer, reason)
		attrs := []any{
			"method", logtext.OfURL(r.Method), "path", logtext.OfURL(r.URL.Path), "file", logtext.OfURL(file), "tail", tail,
			"status", answer.status, "bytes", answer.bytes, "complete", complete, "duration", time.Since(began), "from", r.RemoteAddr,
		}
		if kind := answer.Header().Get("Content-Type"); kind != "" {
			attrs = append(attrs, "type", logtext.OfURL(kind))
		}
		if client := r.Header.Get("X-Forwarded-For"); client != "" {
			attrs = append(attrs, "forwarded_for", logtext.OfURL(client))
		}
		if complete && outcome.Err != nil || reason == failed && outcome.Err != nil {
			reason = outcome.Err.Error()
		}
		if reason != "" {
			attrs = append(attrs, "reason", reason)
		}
		a.log.Log(r.Context(), level(answer.status, outcome.Err), "directory.request", attrs...)
	}()
	a.next.ServeHTTP(answer, r.WithContext(ctx))
	returned = true
}

// level of a line: a person is wanted where the client did nothing wrong.
func level(status int, err error) slog.Level {
	switch {
	case status >= 500 && status != http.StatusServiceUnavailable:
		return slog.LevelError
	case status == http.StatusForbidden, status == http.StatusServiceUnavailable, err != nil && directory.IsGone(err):
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// Why answers end without their end.
const (
	client = "client" // it left, or did not accept in time what was sent
	idle   = "idle"   // a tail had nothing to send for streaming_timeout
	closed = "closed" // the server ends
	failed = "failed" // a file could not be read to the end, or became shorter
)

func (a *access) cutOffBy(ctx context.Context, answer *recorder, err error) string {
	switch {
	case errors.Is(err, directory.ErrIdle):
		return idle
	case a.closing.Load():
		return closed
	case answer.err != nil, ctx.Err() != nil:
		return client
	default:
		return failed
	}
}
