package garden

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/deakit/deakit/container"
)

var (
	// ErrClosed: Close was called.
	ErrClosed = errors.New("back end is closed")
	// ErrConnection: the server cannot be reached, or the connection ended amid an answer. Whether the request was carried
	// out is not known.
	ErrConnection = errors.New("no connection to the Garden server")
	// ErrNotText: what the API carries must be UTF-8.
	ErrNotText = fmt.Errorf("it is not UTF-8, and Garden carries nothing else: %w", container.ErrUnsupported)
)

// A ServerError is what a Garden server answered instead of doing what it was asked for. errors.Is finds the kind of
// package container, or fs.ErrNotExist, where Type or text tells it.
type ServerError struct {
	Status int    // of HTTP
	Type   string // "ContainerNotFoundError" and the like; often empty
	Text   string
	kind   error
}

func (e *ServerError) Error() string { return "Garden server: " + e.Text }

// Unwrap returns the kind, or nil.
func (e *ServerError) Unwrap() error { return e.kind }

// maxErrorBody bounds what is read of an answer that is an error.
const maxErrorBody = 64 << 10

// readError makes an error of an answer.
func readError(response *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConnection, err)
	}
	body := errorBody{Message: strings.TrimSpace(string(text))}
	_ = json.Unmarshal(text, &body) // or it is plain text
	e := &ServerError{Status: response.StatusCode, Type: body.Type, Text: body.Message}
	e.kind = kindOf(body.Type, strings.ToLower(body.Message))
	return e
}

// kindOf tells the kind of an error. Types are few, so the ends of texts, which say what is wrong, are looked at too.
func kindOf(kind, text string) error {
	switch kind {
	case "ContainerNotFoundError", "ProcessNotFoundError":
		return container.ErrNotFound
	case "ExecutableNotFoundError":
		return fs.ErrNotExist
	}
	for end, kind := range map[string]error{
		"already in use": container.ErrExists, container.ErrExists.Error(): container.ErrExists,
		"container already being destroyed": container.ErrNotFound, "no such file or directory": fs.ErrNotExist,
		container.ErrStopped.Error(): container.ErrStopped, container.ErrNoPort.Error(): container.ErrNoPort,
		container.ErrInvalid.Error(): container.ErrInvalid, container.ErrUnsupported.Error(): container.ErrUnsupported,
	} {
		if strings.HasSuffix(text, end) {
			return kind
		}
	}
	return nil
}
