package directory

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"unicode/utf8"

	"github.com/deakit/deakit/internal/logtext"
)

// FileAPI returns the validation API of a DEA (dea_ng), which a directory server in another process asks. It answers
// {"instance_path":"<absolute path of the host>"}, links resolved, for both kinds of URL. It has no authentication but
// the signature: let it listen on loopback only. A nil logger discards.
//
// A directory server that opens the path later has to refuse links on its way, as Remote does; the original does not.
func FileAPI(local *Local, logger *slog.Logger) http.Handler {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := local.route(r.URL.EscapedPath()); ok && !allowed(r) {
			w.Header().Set("Allow", allow)
			writeError(w, &Error{http.StatusMethodNotAllowed, "Method Not Allowed"})
			return
		}
		path, err := local.real(r)
		var refusal *Error
		switch {
		case errors.As(err, &refusal):
			if errors.Is(err, ErrNotAccessible) || errors.Is(err, errGone) {
				logger.Warn("file API refused", "path", logtext.OfURL(r.URL.Path), "error", err) // the client is not told why
			}
			writeError(w, refusal)
		case err != nil:
			logger.Error("file API failed", "path", logtext.OfURL(r.URL.Path), "error", err)
			writeError(w, &Error{http.StatusInternalServerError, "Internal Server Error"})
		default:
			writeJSON(w, http.StatusOK, map[string]string{"instance_path": path})
		}
	})
}

func (l *Local) real(r *http.Request) (string, error) {
	location, err := l.Resolve(r.Context(), r)
	if err != nil {
		return "", err
	}
	path, err := location.Real()
	if errors.Is(err, errGone) {
		return "", fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if errors.Is(err, fs.ErrNotExist) || !utf8.ValidString(path) { // JSON would name another file
		return "", ErrNotFound
	}
	return path, err
}

const allow = "GET, HEAD"

func allowed(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }
