package containerkit

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An Output is a Fanout of one end of a pipe, the other end of which is with processes.
type Output struct {
	Fanout
	pipe *os.File
}

// NewOutput returns the Output of the reading end of a pipe, which must be non-blocking, as those of os.Pipe are.
func NewOutput(pipe *os.File) *Output {
	return &Output{Fanout: Fanout{pipe: &drainedPipe{File: pipe}}, pipe: pipe}
}

// Release is called when all processes of the container are gone. Their ends of the pipe are closed then; but if a process
// outside of it got hold of one, waiting for that would have no end: Pump delivers what the pipe holds, and ends.
func (o *Output) Release() {
	_ = o.pipe.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // fails only when it is closed
}

// A drainedPipe ends after what it holds when its deadline has passed; what comes meanwhile may have no end.
type drainedPipe struct {
	*os.File
	rest syscall.RawConn // nil until the deadline
	left int             // bytes of the rest
}

func (p *drainedPipe) Read(buf []byte) (n int, err error) {
	if p.rest == nil {
		n, err = p.File.Read(buf)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if err := p.drain(); err != nil {
			return 0, err
		}
	}
	// Without waiting, as somebody else may have read it.
	err = p.rest.Read(func(fd uintptr) bool {
		n, _ = unix.Read(int(fd), buf[:min(len(buf), p.left)])
		return true
	})
	if err == nil && n <= 0 {
		return 0, io.EOF
	}
	p.left -= n
	return n, err
}

// drain finds out how much the pipe holds.
func (p *drainedPipe) drain() error {
	if err := p.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	rest, err := p.SyscallConn()
	if err != nil {
		return err
	}
	p.rest = rest
	return rest.Control(func(fd uintptr) { p.left, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
}
