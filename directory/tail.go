package directory

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/deakit/deakit/internal/filewatch"
)

// startOffset returns the byte at which a tail begins; -1 stands for the end of the file.
func startOffset(text *string) (offset int64, ok bool) {
	if text == nil {
		return -1, true
	}
	n, err := strconv.ParseInt(*text, 10, strconv.IntSize)
	return n, err == nil && n >= 0
}

// tail sends what is written to the file at location, which is h, and closes it.
func (s *Server) tail(w http.ResponseWriter, r *http.Request, location Location, h *handle, want wishes) {
	start, ok := startOffset(want.offset)
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
	t := tailing{server: s, follower: s.watcher.Follow(h.fd, h.name)}
	defer func() { t.follower.Leave() }()
	t.out = stream{file: t.follower.File(), pos: start, w: w, control: http.NewResponseController(w), patience: s.idle}
	if want.follow {
		t.rotation = &rotation{location: location, dev: uint64(h.stat.Dev), ino: h.stat.Ino}
	}
	ctx, release := s.untilClosed(r.Context(), t.out.control)
	defer release()
	if err := t.out.begin(ctx); err != nil {
		s.report(r, slog.LevelDebug, "", err)
		return
	}
	if r.Method == http.MethodHead {
		return
	}
	if err := t.run(ctx); err != nil {
		s.report(r, slog.LevelDebug, "", err)
		// The client sees the missing final chunk. Deferred calls still run.
		panic(http.ErrAbortHandler)
	}
	_ = t.out.allow(ctx) // for the final chunk; net/http takes the deadline back before the next request
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

// A tailing is one tail, which belongs to the goroutine of its request.
type tailing struct {
	server   *Server
	follower *filewatch.Follower
	out      stream
	rotation *rotation // nil: the tail ends with the file
}

// run sends until there is a reason to end. With an error the client must learn that there may be more.
func (t *tailing) run(ctx context.Context) error {
	idle := time.NewTimer(t.server.idle)
	defer idle.Stop()
	look := t.rotation.clock()
	defer look.stop()
	for expired := false; ; {
		// Looked at first, and copied then, so that what was written before the end is sent.
		gone := t.follower.Gone()
		sent, err := t.out.copyNew(ctx)
		if err != nil || gone && t.rotation == nil {
			return err
		}
		if sent {
			idle.Reset(t.server.idle)
		} else if expired {
			return ErrIdle
		}
		expired = false
		select {
		case <-t.follower.Changed():
		case <-idle.C:
			expired = true // unless there is something to send after all: word of it may be late on a busy machine
		case <-look.ticks(gone):
			if over, err := t.rotate(ctx); over || err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
