package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
)

// An Error is a refusal in the words of the file API (dea_ng): a status, and the text that stands in the answer as
// {"error":"<text>"}. Compare with errors.Is against the Err values below.
type Error struct {
	status int
	text   string
}

// The refusals of the file API.
var (
	ErrInvalidHMAC            error = &Error{http.StatusUnauthorized, "Invalid HMAC"}
	ErrExpired                error = &Error{http.StatusBadRequest, "Url expired"}
	ErrUnknownInstance        error = &Error{http.StatusNotFound, "Unknown instance"}
	ErrUnknownStagingTask     error = &Error{http.StatusNotFound, "Unknown staging task"}
	ErrInstanceUnavailable    error = &Error{http.StatusServiceUnavailable, "Instance unavailable"}
	ErrStagingTaskUnavailable error = &Error{http.StatusServiceUnavailable, "Staging task unavailable"}
	ErrNotFound               error = &Error{http.StatusNotFound, "Entity not found"}
	ErrNotAccessible          error = &Error{http.StatusForbidden, "Not accessible"}

	errNoRoute    error = &Error{http.StatusNotFound, "Not Found"}
	errArchive    error = &Error{http.StatusBadRequest, "archive must be zip or tgz"}
	errArchived   error = &Error{http.StatusBadRequest, "archive is for directories, and this is a file"}
	errTailFollow error = &Error{http.StatusBadRequest, "tail_follow needs tail"}
)

// What a Lookup answers; the resolver puts it in the words for instances or staging tasks.
var (
	// ErrUnknown: there is no instance or task of this id.
	ErrUnknown = errors.New("unknown id")
	// ErrUnavailable: it exists, but has no files to show in its present state.
	ErrUnavailable = errors.New("files are unavailable")
)

// What Remote answers when the file API fails.
var (
	ErrUnreachable = errors.New("DEA is unreachable")
	ErrInvalidJSON = errors.New("DEA responded with invalid JSON")
)

// notAccessible is ErrNotAccessible with a reason, which is for those who run the server.
func notAccessible(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNotAccessible, fmt.Sprintf(format, args...))
}

// errGone is fs.ErrNotExist where it is Dir of a Tree that is missing.
var errGone = fmt.Errorf("the directory of the instance or task: %w", fs.ErrNotExist)

// A tooLarge tells of a listing or an archive beyond its bounds.
type tooLarge struct{ text string }

func (t *tooLarge) Error() string { return t.text }

// Status is the HTTP status of the refusal.
func (e *Error) Status() int { return e.status }

// Error returns the text of the refusal.
func (e *Error) Error() string { return e.text }

// An Answer is the answer of a file API that is not 200, to be passed on to the client as it is. One whose status is below 200 or
// above 999 is none, and is taken for ErrUnreachable. It is an error so that Resolve can return it.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// final reports whether the status is one that ends an exchange.
func (a *Answer) final() bool { return a.Status >= 200 && a.Status <= 999 }

// Error tells the status; body and header may be long.
func (a *Answer) Error() string { return fmt.Sprintf("file API answered %d", a.Status) }

// writeJSON answers with a JSON document; the client is gone when writing fails, and nobody is left to be told.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings only
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func writeError(w http.ResponseWriter, e *Error) {
	writeJSON(w, e.status, map[string]string{"error": e.text})
}
