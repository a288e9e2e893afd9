package process

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A stream carries one output of a process to those who attached to it. A slow reader slows the process down rather
// than losing output; one that fails is dropped, and the process does not notice.
type stream struct {
	pipe *os.File

	mu    sync.Mutex
	sinks []*sink
}

type sink struct{ io.Writer }

func (s *stream) attach(w io.Writer) {
	if w == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sinks = append(s.sinks, &sink{w})
}

// pump delivers until all who have the other end closed it, or, once release was called, until nothing is left to read.
func (s *stream) pump() {
	defer s.pipe.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := s.pipe.Read(buf)
		s.deliver(buf[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.drain(buf)
			return
		}
		if err != nil {
			return
		}
	}
}

// release is called when all processes of the container are gone. Their ends of the pipe are closed then; but if a
// process outside of it got hold of one, waiting for that would have no end.
func (s *stream) release() {
	_ = s.pipe.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // fails only when it is closed
}

// drain delivers what the pipe holds at this moment.
func (s *stream) drain(buf []byte) {
	if s.pipe.SetReadDeadline(time.Time{}) != nil {
		return
	}
	raw, err := s.pipe.SyscallConn()
	if err != nil {
		return
	}
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.Read(int(fd), buf) // the pipe is non-blocking
			return true
		})
		if err != nil || n <= 0 {
			return
		}
		s.deliver(buf[:n])
	}
}

func (s *stream) deliver(data []byte) {
	if len(data) == 0 {
		return
	}
	s.mu.Lock()
	sinks := slices.Clone(s.sinks)
	s.mu.Unlock()
	for _, to := range sinks {
		if _, err := to.Write(data); err != nil {
			s.mu.Lock()
			s.sinks = slices.DeleteFunc(s.sinks, func(other *sink) bool { return other == to })
			s.mu.Unlock()
		}
	}
}

// lockedWriter lets one goroutine at a time write to what two streams share.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// sameWriter compares two writers, which may be of a type that cannot be compared.
func sameWriter(a, b io.Writer) bool {
	defer func() { _ = recover() }()
	return a != nil && a == b
}
