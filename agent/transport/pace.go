package transport

import (
	"io"
	"net/http"
	"time"
)

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
	return b.Reader.Read(p)
}

// done lifts the deadline: while an action is at work nobody reads.
func (b *body) done() { _ = b.pace.control.SetReadDeadline(time.Time{}) } // a connection without deadlines has failed in Read

// A writer sends to a peer in the same way.
type writer struct {
	http.ResponseWriter
	pace pace
}

func (h *HTTPS) writer(w http.ResponseWriter) *writer { return &writer{w, h.pace(w)} }

// piece is how much a peer has to take within the stall time, bytes.
const piece = 1 << 20

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

// next is the deadline of the next step.
func (p pace) next() time.Time {
	if next := time.Now().Add(stall); next.Before(p.until) {
		return next
	}
	return p.until
}
