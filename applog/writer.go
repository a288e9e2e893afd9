package applog

import "sync"

// maxWritten bounds a line of a Writer, in bytes. A longer one becomes several.
const maxWritten = 60 << 10

// A Writer emits what is written to it line by line. It may be used from several goroutines at once.
type Writer struct {
	emitter Emitter
	line    Line

	mu    sync.Mutex
	lines splitter
}

// NewWriter returns a Writer that emits lines to emitter, each of which has besides its time and text what line has. The
// caller calls Close.
func NewWriter(emitter Emitter, line Line) *Writer {
	return &Writer{emitter: emitter, line: line, lines: splitter{max: maxWritten}}
}

// Write implements io.Writer. It never fails.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines.feed(p, w.emit)
	return len(p), nil
}

// Close emits a last line that has no end. It never fails.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines.flush(w.emit)
	return nil
}

func (w *Writer) emit(text []byte) {
	line := w.line
	line.Text = string(text)
	w.emitter.Emit(stamped(line))
}
