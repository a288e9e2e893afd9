package directory

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/deakit/deakit/internal/logtext"
)

// ErrIdle ended a tail: there was nothing to send for StreamingTimeout.
var ErrIdle = errors.New("nothing came for StreamingTimeout")

// An Outcome is what a Server knows of a request beyond its status. It is for logs and figures: the client is told less.
type Outcome struct {
	// Err is why the request was refused, has failed, or was not answered to its end; nil where nothing is known to be wrong.
	// For what may not be read it wraps ErrNotAccessible and tells why, with paths of the host.
	Err error
}

// IsGone reports whether err, of an Outcome, tells that the whole directory of a Tree is missing, and not just what was asked for.
func IsGone(err error) bool { return errors.Is(err, errGone) }

type outcomeKey struct{}

// WithOutcome returns a context for one request to a Server, and what the Server fills in before ServeHTTP ends. The Server logs
// nothing of such a request itself.
func WithOutcome(ctx context.Context) (context.Context, *Outcome) {
	o := &Outcome{}
	return context.WithValue(ctx, outcomeKey{}, o), o
}

// report tells what has become of a request. Where nobody else wants to know, it logs what a level above debug makes worth it.
func (s *Server) report(r *http.Request, level slog.Level, message string, err error) {
	if o, ok := r.Context().Value(outcomeKey{}).(*Outcome); ok {
		o.Err = err
		return
	}
	if level > slog.LevelDebug {
		s.log.Log(r.Context(), level, message, "path", logtext.OfURL(r.URL.Path), "error", err)
	}
}
