package runc

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/containerkit"
)

// A stream is one output of a process: a FIFO that has a name, so that a successor of this back end finds it again. The
// process has it open for reading too: when nobody else does, it is not killed by writing, but waits for someone to come.
type stream struct {
	*containerkit.Output
	path string
}

// makeStream makes a FIFO, and returns it with the end that is the process's.
func makeStream(path string) (*stream, *os.File, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, errors.Join(&os.PathError{Op: "open", Path: path, Err: err}, os.Remove(path))
	}
	theirs := os.NewFile(uintptr(fd), path)
	s, err := openStream(path)
	if err != nil {
		theirs.Close()
		return nil, nil, errors.Join(err, os.Remove(path))
	}
	return s, theirs, nil
}

// openStream opens our end of a FIFO.
func openStream(path string) (*stream, error) {
	pipe, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	return &stream{containerkit.NewOutput(pipe), path}, nil
}

// abandon undoes makeStream and openStream.
func (s *stream) abandon() {
	s.Close()
	_ = os.Remove(s.path) // Destroy does at the latest
}

// pump delivers until all who have the other end closed it, or it is released. When it is closed, it stays for a successor.
func (s *stream) pump() {
	if err := s.Pump(); !errors.Is(err, os.ErrClosed) {
		s.abandon()
	}
}
