package transport

import (
	"io"
	"net/http"
	"time"
)

// The server gives each request and its answer some time. Whoever has shown credentials gets more, as long as bytes move: what
// follows renews the deadlines.

// A body is what a peer sends: of bounded size, in bounded time, and never standing still for long.
type body struct {
	io.Reader
	pace pace
}

func (h *HTTPS) body(w http.ResponseWriter, r *http.Request, most int64) *body {
	return &body{http.MaxBytesReader(w, r.Body, most), h.pace(w)}
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.pace.control.SetReadDeadline(b.pace.next()); err != nil {
		return 0, err
	}
	n, err := b.Reader.Read(p)
	if err == io.EOF { // as its callers compare it
		b.pace.silence()
	}
	return n, err
}

// A writer sends to a peer in the same way.
type writer struct {
	http.ResponseWriter
	pace pace
}

func (h *HTTPS) writer(w http.ResponseWriter) *writer { return &writer{w, h.pace(w)} }

// piece is how much a peer has to take within the stall time, bytes.
const piece = 1 << 20

// WriteHeader renews the deadline too: many an answer has nothing else.
func (w *writer) WriteHeader(code int) {
	_ = w.pace.control.SetWriteDeadline(w.pace.next()) // if it fails, so does what is written next
	w.ResponseWriter.WriteHeader(code)
}

func (w *writer) Write(p []byte) (written int, err error) {
	for {
		part := p[:min(piece, len(p))]
		if err := w.pace.control.SetWriteDeadline(w.pace.next()); err != nil {
			return written, err
		}
		n, err := w.ResponseWriter.Write(part)
		written += n
		if p = p[len(part):]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}

// A pace gives deadlines.
type pace struct {
	control *http.ResponseController
	until   time.Time
}

func (h *HTTPS) pace(w http.ResponseWriter) pace {
	return pace{http.NewResponseController(w), time.Now().Add(h.cfg.MaxTime)}
}

// silence is for the time when all was said by the peer and an action or an answer takes its time.
func (p pace) silence() {
	_ = p.control.SetReadDeadline(time.Time{}) // on a connection that knows deadlines, or none of this matters
}

// next is the deadline of the next step.
func (p pace) next() time.Time {
	if next := time.Now().Add(stall); next.Before(p.until) {
		return next
	}
	return p.until
}
