package runc

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A stream carries one output of a process to those who attached to it. A slow reader slows the process down rather
// than losing output; one that fails is dropped, and the process does not notice.
//
// It is a FIFO that has a name, so that a successor of this back end finds it again. The process has it open for reading
// too: when nobody else does, it is not killed by writing, but waits for someone to come.
type stream struct {
	path string
	pipe *os.File // our end

	mu    sync.Mutex
	sinks []*sink
}

type sink struct{ io.Writer }

// makeStream makes a FIFO, and returns it with the end that is the process's.
func makeStream(path string, w io.Writer) (*stream, *os.File, error) {
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
	s.attach(w)
	return s, theirs, nil
}

// openStream opens our end of a FIFO.
func openStream(path string) (*stream, error) {
	pipe, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	return &stream{path: path, pipe: pipe}, nil
}

// abandon undoes makeStream and openStream.
func (s *stream) abandon() {
	s.pipe.Close()
	_ = os.Remove(s.path) // Destroy does at the latest
}

// leave lets go of the FIFO, which stays.
func (s *stream) leave() { s.pipe.Close() }

func (s *stream) attach(w io.Writer) {
	if w == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sinks = append(s.sinks, &sink{w})
}

// pump delivers until all who have the other end closed it, or, once release was called, until nothing is left to read.
// When leave was called, it leaves the rest to a successor.
func (s *stream) pump() {
	buf := make([]byte, 64<<10)
	for {
		n, err := s.pipe.Read(buf)
		s.deliver(buf[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.drain(buf)
		}
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			s.abandon()
			return
		}
	}
}

// release is called when all processes of the container are gone. Their ends are closed then; but if a process outside
// of it got hold of one, waiting for that would have no end.
func (s *stream) release() {
	_ = s.pipe.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // fails only when it is closed
}

// drain delivers what the pipe holds at this moment; not what comes meanwhile, which may have no end.
func (s *stream) drain(buf []byte) {
	if s.pipe.SetReadDeadline(time.Time{}) != nil {
		return
	}
	raw, err := s.pipe.SyscallConn()
	if err != nil {
		return
	}
	left := 0
	if err := raw.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); err != nil {
		return
	}
	for left > 0 {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = syscall.Read(int(fd), buf[:min(len(buf), left)]) // the pipe is non-blocking
			return true
		})
		if err != nil || n <= 0 {
			return
		}
		s.deliver(buf[:n])
		left -= n
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
