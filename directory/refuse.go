package directory

import (
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"syscall"
)

// refuse answers a request that cannot be served because of err.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		s.report(r, slog.LevelDebug, "", err)
		return // nobody listens
	}
	var (
		refusal *Error
		answer  *Answer
		large   *tooLarge
		errno   syscall.Errno
	)
	level := slog.LevelError
	switch {
	case errors.As(err, &refusal):
		if level = slog.LevelDebug; errors.Is(err, ErrNotAccessible) || errors.Is(err, errGone) {
			level = slog.LevelWarn // the client is not told why
		}
		writeError(w, refusal)
	case errors.As(err, &answer) && answer.final():
		maps.Copy(w.Header(), answer.Header)
		w.WriteHeader(answer.Status)
		_, _ = w.Write(answer.Body)
		level = slog.LevelDebug
	case errors.Is(err, ErrUnreachable), answer != nil:
		http.Error(w, ErrUnreachable.Error(), http.StatusInternalServerError)
	case errors.Is(err, ErrInvalidJSON):
		http.Error(w, ErrInvalidJSON.Error(), http.StatusInternalServerError)
	case errors.As(err, &large):
		cannotServe(w, large.Error())
	case errors.As(err, &errno):
		cannotServe(w, errno.Error())
	default:
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
	}
	s.report(r, level, "directory request failed", err)
}

// vanished is dea_ng's answer when a path is no longer there; it is not a 404.
func vanished(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Cascade", "pass")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte("Entity not found.\n"))
}

func cannotServe(w http.ResponseWriter, why string) {
	body := "Can't serve request due to error: " + why
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = w.Write([]byte(body))
}

// tryLater refuses a request for which there is no room at present.
func tryLater(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "5")
	http.Error(w, why, http.StatusServiceUnavailable)
}
