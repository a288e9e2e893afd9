package memory

import (
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/deakit/deakit/container"
)

// A stream carries one output of a process to those who attached to it: a slow reader slows the process down, one that
// fails is dropped.
type stream struct {
	from *io.PipeReader
	to   *io.PipeWriter

	mu    sync.Mutex
	sinks []*sink
}

type sink struct{ io.Writer }

func newStream(w io.Writer) *stream {
	s := &stream{}
	s.from, s.to = io.Pipe()
	s.attach(w)
	return s
}

func (s *stream) attach(w io.Writer) {
	if s == nil || w == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sinks = append(s.sinks, &sink{w})
}

// pump delivers until the stream is closed.
func (s *stream) pump() {
	buf := make([]byte, 32<<10)
	for {
		n, err := s.from.Read(buf)
		if err != nil {
			return
		}
		s.mu.Lock()
		sinks := slices.Clone(s.sinks)
		s.mu.Unlock()
		for _, to := range sinks {
			if _, err := to.Write(buf[:n]); err != nil {
				s.mu.Lock()
				s.sinks = slices.DeleteFunc(s.sinks, func(other *sink) bool { return other == to })
				s.mu.Unlock()
			}
		}
	}
}

// connect makes the streams of a process.
func (p *Process) connect(pio container.IO) {
	p.Stdin, p.Stdout, p.Stderr = strings.NewReader(""), io.Discard, io.Discard
	if pio.Stdin != nil {
		var to *io.PipeWriter
		p.input, to = io.Pipe()
		p.Stdin = p.input
		go func() { // ends with the input, or when that next has something after the process has ended
			_, err := io.Copy(to, pio.Stdin)
			to.CloseWithError(err)
		}()
	}
	if pio.Stdout != nil {
		p.out = newStream(pio.Stdout)
		p.Stdout = p.out.to
	}
	if sameWriter(pio.Stdout, pio.Stderr) {
		p.errOut, p.Stderr = p.out, p.Stdout
	} else if pio.Stderr != nil {
		p.errOut = newStream(pio.Stderr)
		p.Stderr = p.errOut.to
	}
}

// streams returns the outputs that are delivered.
func (p *Process) streams() []*stream {
	list := slices.DeleteFunc([]*stream{p.out, p.errOut}, func(s *stream) bool { return s == nil })
	return slices.Compact(list)
}

func (p *Process) closeStreams() {
	for _, s := range p.streams() {
		s.to.Close()
	}
	if p.input != nil {
		p.input.CloseWithError(errEnded)
	}
}

// attach adds writers. Where both outputs are one stream, all of it goes to that of the standard output.
func (p *Process) attach(pio container.IO) {
	if p.out == p.errOut {
		pio.Stderr = nil
	} else if sameWriter(pio.Stdout, pio.Stderr) {
		shared := &lockedWriter{w: pio.Stdout}
		pio.Stdout, pio.Stderr = shared, shared
	}
	p.out.attach(pio.Stdout)
	p.errOut.attach(pio.Stderr)
}

// lockedWriter lets one goroutine at a time write to what two streams share.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// sameWriter compares two writers, which may be of a type that cannot be compared.
func sameWriter(a, b io.Writer) bool {
	defer func() { _ = recover() }()
	return a != nil && a == b
}
