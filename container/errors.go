package container

import "errors"

// The kinds of error that callers tell apart with errors.Is. A back end wraps them with the operation and the handle.
var (
	// ErrNotFound: no such container or process.
	ErrNotFound = errors.New("unknown handle")
	// ErrExists: the handle is taken.
	ErrExists = errors.New("container with this handle already exists")
	// ErrStopped: the operation needs a container that was not stopped.
	ErrStopped = errors.New("container is stopped")
	// ErrNoPort: no port is free, or the one asked for is taken.
	ErrNoPort = errors.New("no port available")
	// ErrInvalid: the request makes no sense on any back end.
	ErrInvalid = errors.New("invalid request")
	// ErrUnsupported: this back end cannot do it; Capabilities says so beforehand.
	ErrUnsupported = errors.New("not supported by this back end")
	// ErrStatusUnknown: a process has ended, and nobody saw how.
	ErrStatusUnknown = errors.New("exit status is not known")
)
