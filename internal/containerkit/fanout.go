package containerkit

import (
	"io"
	"slices"
	"sync"
)

// A Fanout carries one output of a process to those who attached to it. A slow reader slows the process down rather than
// losing output; one that fails is dropped, and the process does not notice. A nil Fanout takes readers and forgets them.
type Fanout struct {
	pipe io.ReadCloser

	mu    sync.Mutex
	sinks []*sink
}

type sink struct{ io.Writer }

// NewFanout returns a fanout of what comes from pipe. Its owner calls Pump.
func NewFanout(pipe io.ReadCloser) *Fanout { return &Fanout{pipe: pipe} }

// Attach adds a reader of what comes from now on; nil is none.
func (f *Fanout) Attach(w io.Writer) {
	if f == nil || w == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sinks = append(f.sinks, &sink{w})
}

// Pump delivers until the pipe ends, or Close is called, and closes it. It returns why it ended, nil for the end of the
// pipe.
func (f *Fanout) Pump() error {
	defer f.pipe.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := f.pipe.Read(buf)
		if n > 0 {
			f.deliver(buf[:n])
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Close ends Pump.
func (f *Fanout) Close() {
	if f != nil {
		f.pipe.Close()
	}
}

func (f *Fanout) deliver(data []byte) {
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

// AttachBoth attaches to the outputs of a process what is to have them. Where they are one, all of it goes to stdout.
func AttachBoth(out, errOut *Fanout, stdout, stderr io.Writer) {
	if out == errOut {
		out.Attach(stdout)
		return
	}
	stdout, stderr = Apart(stdout, stderr)
	out.Attach(stdout)
	errOut.Attach(stderr)
}

// Apart returns writers for two outputs that come apart, in no order, of two that may be the same.
func Apart(stdout, stderr io.Writer) (io.Writer, io.Writer) {
	if SameWriter(stdout, stderr) {
		shared := &lockedWriter{w: stdout}
		return shared, shared
	}
	return stdout, stderr
}

// lockedWriter lets one goroutine at a time write to what two outputs share.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// SameWriter compares two writers, which may be of a type that cannot be compared.
func SameWriter(a, b io.Writer) bool {
	defer func() { _ = recover() }()
	return a != nil && a == b
}
