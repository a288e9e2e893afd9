package directory

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/deakit/deakit/internal/filewatch"
)

// tailParams reads what a query says of a tail: the presence of "tail", and the first "tail_offset" if any.
func tailParams(rawQuery string) (tail bool, offset *string) {
	for p := range params(rawQuery) {
		switch p.name {
		case "tail":
			tail = true
		case "tail_offset":
			if offset == nil {
				value := p.value()
				offset = &value
			}
		}
	}
	return tail, offset
}

// startOffset returns the byte at which a tail begins; -1 stands for the end of the file.
func startOffset(text *string) (offset int64, ok bool) {
	if text == nil {
		return -1, true
	}
	n, err := strconv.ParseInt(*text, 10, strconv.IntSize)
	return n, err == nil && n >= 0
}

// tail sends what is written to the file, and closes it.
func (s *Server) tail(w http.ResponseWriter, r *http.Request, h *handle, offset *string) {
	start, ok := startOffset(offset)
	if !ok {
		h.close()
		cannotServe(w, "Tail offset must be a positive integer.")
		return
	}
	if !s.beginTail() {
		h.close()
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return
	}
	defer s.tails.Done()
	follower := s.watcher.Follow(h.fd, h.name)
	defer follower.Leave()

	t := stream{file: follower.File(), pos: start, w: w, control: http.NewResponseController(w), patience: s.idle}
	ctx, release := s.untilClosed(r.Context(), t.control)
	defer release()
	if err := t.begin(); err != nil || r.Method == http.MethodHead {
		return
	}
	defer func() { _ = t.control.SetWriteDeadline(time.Time{}) }()
	if s.stream(ctx, &t, follower) {
		// The client sees the missing final chunk. Deferred calls still run.
		panic(http.ErrAbortHandler)
	}
}

// untilClosed returns a context that also ends with the Server, which then interrupts a write that waits for the client.
func (s *Server) untilClosed(ctx context.Context, control *http.ResponseController) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	interrupted := make(chan struct{})
	stop := context.AfterFunc(s.closing, func() {
		defer close(interrupted)
		cancel()
		_ = control.SetWriteDeadline(time.Unix(1, 0))
	})
	return ctx, func() {
		cancel()
		if !stop() {
			<-interrupted
		}
	}
}

// stream sends until there is a reason to end, and reports whether the client must learn that there may be more.
func (s *Server) stream(ctx context.Context, t *stream, follower *filewatch.Follower) (unfinished bool) {
	idle := time.NewTimer(s.idle)
	defer idle.Stop()
	for expired := false; ; {
		// Looked at first, and copied then, so that what was written before the end is sent.
		gone := follower.Gone()
		sent, err := t.copyNew(ctx)
		if err != nil || gone {
			return err != nil
		}
		if sent {
			idle.Reset(s.idle)
		} else if expired {
			return true
		}
		expired = false
		select {
		case <-follower.Changed():
		case <-idle.C:
			expired = true // unless there is something to send after all: word of it may be late on a busy machine
		case <-ctx.Done():
			return true
		}
	}
}

// A stream is the state of one tail.
type stream struct {
	file     *os.File
	pos      int64 // the next byte to send
	size     int64 // of the file when last seen
	w        http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration // how long one write may take
}

// begin sends the header, also when there is nothing to send yet. The app writes the content: it must not be taken for a
// page of the domain.
func (t *stream) begin() error {
	if t.pos < 0 {
		info, err := t.file.Stat()
		if err != nil {
			return err
		}
		t.pos = info.Size()
	}
	t.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	t.w.Header().Set("X-Content-Type-Options", "nosniff")
	t.w.WriteHeader(http.StatusOK)
	return t.flush()
}

// copyNew sends what stands between the position and the present end of the file, and reports whether that was anything.
// It does not run after a writer: what is written meanwhile is left to the next call.
func (t *stream) copyNew(ctx context.Context) (sent bool, err error) {
	info, err := t.file.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() < t.size {
		t.pos = 0 // truncated; a position beyond the end that a client asked for is another matter
	}
	t.size = info.Size()
	if t.pos >= t.size {
		return false, nil
	}
	buf := chunks.Get().(*[smallFile]byte)
	defer chunks.Put(buf)
	for t.pos < t.size {
		n, err := t.file.ReadAt(buf[:min(int64(len(buf)), t.size-t.pos)], t.pos)
		if n == 0 {
			if errors.Is(err, io.EOF) {
				break // truncated meanwhile
			}
			return sent, err
		}
		_ = t.control.SetWriteDeadline(time.Now().Add(t.patience))
		if ctx.Err() != nil { // after the deadline, which must not undo the one that interrupts
			return sent, ctx.Err()
		}
		if _, err := t.w.Write(buf[:n]); err != nil {
			return sent, err
		}
		t.pos += int64(n)
		sent = true
	}
	return sent, t.flush()
}

// flush lets data leave at once. A writer that cannot is none that a tail makes sense with, but it is no error.
func (t *stream) flush() error {
	if err := t.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
