package warden

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/deakit/deakit/container"
)

// The texts by which the original says what is wrong. Clients know them.
const (
	textUnknownHandle = "unknown handle"
	textNoSuchJob     = "no such job"
	textNoPort        = "no port available"
	textState         = "Container state must be one of "
	textNotActive     = textState + "'active', current state is 'stopped'"
	textNoSource      = "Source path for bind mount does not exist: "
	textOutputLimit   = "command exceeded maximum output"
	textNotDone       = "not implemented"
	textPortRange     = "Port range maximum must be greater than minimum"
)

func textExists(handle string) string {
	return fmt.Sprintf("container with handle: %s already exists.", handle)
}

// An answerError is an error whose text is that of the original. Its kind is one of package container, or nil.
type answerError struct {
	text string
	kind error
}

func (e *answerError) Error() string { return e.text }

func (e *answerError) Unwrap() error { return e.kind }

// explain gives an error of a back end the text that clients of Warden know, where there is one; others end with the text
// of their kind, by which our own client tells them apart.
func explain(err error) error {
	var known *answerError
	if errors.As(err, &known) || errors.Is(err, errGone) || errors.Is(err, errSent) {
		return err
	}
	switch {
	case errors.Is(err, container.ErrNotFound):
		return &answerError{textUnknownHandle, container.ErrNotFound}
	case errors.Is(err, container.ErrStopped):
		return &answerError{textNotActive, container.ErrStopped}
	case errors.Is(err, container.ErrNoPort):
		return &answerError{textNoPort, container.ErrNoPort}
	}
	for _, kind := range kindsByEnd {
		if errors.Is(err, kind) && kindOf(err.Error()) != kind {
			return &answerError{err.Error() + ": " + kind.Error(), kind}
		}
	}
	return err
}

// kindsByEnd are the kinds that the original has no text for.
var kindsByEnd = []error{container.ErrInvalid, container.ErrUnsupported, fs.ErrNotExist}

// A ServerError is what a Warden server answered instead of doing what it was asked for. errors.Is finds the kind of
// package container, or fs.ErrNotExist, where the text tells it.
type ServerError struct {
	Text string
	kind error
}

func (e *ServerError) Error() string { return "Warden server: " + e.Text }

// Unwrap returns the kind, or nil.
func (e *ServerError) Unwrap() error { return e.kind }

func newServerError(text string) *ServerError { return &ServerError{text, kindOf(text)} }

// kindOf tells the kind of an error from its text, which is all that travels. It looks at whole texts, beginnings and
// ends only, as names of files stand in the middle.
func kindOf(text string) error {
	switch {
	case text == textUnknownHandle, text == textNoSuchJob:
		return container.ErrNotFound
	case text == textNoPort:
		return container.ErrNoPort
	case strings.HasPrefix(text, textState):
		return container.ErrStopped
	case strings.HasPrefix(text, "container with handle: ") && strings.HasSuffix(text, " already exists."):
		return container.ErrExists
	case strings.HasPrefix(text, textNoSource), text == textPortRange:
		return container.ErrInvalid
	case text == textNotDone:
		return container.ErrUnsupported
	case strings.HasSuffix(strings.ToLower(text), "no such file or directory"):
		return fs.ErrNotExist
	}
	for _, kind := range kindsByEnd {
		if strings.HasSuffix(text, kind.Error()) {
			return kind
		}
	}
	return nil
}
