package warden

import (
	"io"
	"os"
	"slices"
	"sync"
)

// A fanout carries one output of a process to those who attached to it. A slow reader slows the process down rather than
// losing output; one that fails is dropped, and the process does not notice.
type fanout struct {
	pipe *os.File

	mu    sync.Mutex
	sinks []*sink
}

type sink struct{ io.Writer }

func (f *fanout) attach(w io.Writer) {
	if f == nil || w == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sinks = append(f.sinks, &sink{w})
}

// pump delivers until all who have the other end closed it, or we did.
func (f *fanout) pump() {
	defer f.pipe.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := f.pipe.Read(buf)
		if n > 0 {
			f.deliver(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func (f *fanout) deliver(data []byte) {
	f.mu.Lock()
	sinks := slices.Clone(f.sinks)
	f.mu.Unlock()
	for _, to := range sinks {
		if _, err := to.Write(data); err != nil {
			f.mu.Lock()
			f.sinks = slices.DeleteFunc(f.sinks, func(other *sink) bool { return other == to })
			f.mu.Unlock()
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
