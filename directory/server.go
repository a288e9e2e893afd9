package directory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/deakit/deakit/internal/filewatch"
)

// Config sets up a Server.
type Config struct {
	// Resolver says where the files are. Required.
	Resolver Resolver

	// StreamingTimeout ends a tail that had nothing to send for so long; default 60 s. A client that takes as long to
	// accept what is sent is given up, too.
	StreamingTimeout time.Duration

	// MaxEntries bounds how many entries a directory may have to be listed; default 100,000.
	MaxEntries int

	// Logger gets failures that the client is not told about. Nothing of a query or header is logged: both can carry
	// what lets a person read the files. Nil discards.
	Logger *slog.Logger
}

// A Server answers GET and HEAD requests (dea_ng): a directory with a listing in plain text, a file with its content, or
// with what is written to it from now on when the query has a parameter "tail". It does not care for the path of the
// request or its header; the Resolver does. It refuses other methods with 405.
//
// A tail begins at the byte "tail_offset", or at the present end. It ends cleanly when the file is renamed or deleted, after
// what was written before. It ends without the final chunk, so that a client can tell that there may be more, when nothing
// came for StreamingTimeout, or at Close. A truncated file is sent from its new beginning.
type Server struct {
	resolver   Resolver
	idle       time.Duration
	maxEntries int
	log        *slog.Logger
	watcher    filewatch.Watcher
	listings   sharing[listingKey]

	closing context.Context // ends at Close
	end     context.CancelFunc
	mu      sync.Mutex // orders tails.Add and Close
	tails   sync.WaitGroup
}

// NewServer starts nothing. It returns an error when there is no Resolver, or a figure is negative.
func NewServer(cfg Config) (*Server, error) {
	switch {
	case cfg.Resolver == nil:
		return nil, errors.New("directory server: no Resolver; give a Local or a Remote")
	case cfg.StreamingTimeout < 0:
		return nil, fmt.Errorf("directory server: StreamingTimeout is %v; give a positive duration, or 0 for 60 s",
			cfg.StreamingTimeout)
	case cfg.MaxEntries < 0:
		return nil, fmt.Errorf("directory server: MaxEntries is %d; give a positive number, or 0 for 100,000", cfg.MaxEntries)
	}
	s := &Server{resolver: cfg.Resolver, idle: cfg.StreamingTimeout, maxEntries: cfg.MaxEntries, log: cfg.Logger}
	s.closing, s.end = context.WithCancel(context.Background())
	if s.idle == 0 {
		s.idle = 60 * time.Second
	}
	if s.maxEntries == 0 {
		s.maxEntries = 100_000
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// Close ends all tails and returns when they have ended; new ones are refused with 503. Other requests are still served.
// A second Close is harmless.
func (s *Server) Close() {
	s.mu.Lock()
	s.end()
	s.mu.Unlock()
	s.tails.Wait()
}

// beginTail reports whether a tail may run; it then ends with tails.Done.
func (s *Server) beginTail() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Err() != nil {
		return false
	}
	s.tails.Add(1)
	return true
}

// ServeHTTP answers one request. It panics with http.ErrAbortHandler to end a tail without the final chunk.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !allowed(r) {
		w.Header().Set("Allow", allow)
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	location, err := s.resolver.Resolve(r.Context(), r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	h, err := location.open()
	switch {
	case errors.Is(err, fs.ErrNotExist) && location.Missing == nil:
		vanished(w)
		return
	case errors.Is(err, fs.ErrNotExist):
		s.refuse(w, r, location.Missing)
		return
	case err != nil:
		s.refuse(w, r, err)
		return
	}
	tail, offset := tailParams(r.URL.RawQuery)
	switch {
	case h.isDir():
		s.list(w, r, h)
	case tail:
		s.tail(w, r, h, offset)
	default:
		s.dump(w, r, h)
	}
}

// refuse answers a request that cannot be served because of err.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody listens
	}
	var (
		refusal *Error
		answer  *Answer
		errno   syscall.Errno
	)
	switch {
	case errors.As(err, &refusal):
		writeError(w, refusal)
		return
	case errors.As(err, &answer):
		maps.Copy(w.Header(), answer.Header)
		w.WriteHeader(answer.Status)
		_, _ = w.Write(answer.Body)
		return
	case errors.Is(err, ErrUnreachable):
		http.Error(w, ErrUnreachable.Error(), http.StatusInternalServerError)
	case errors.Is(err, ErrInvalidJSON):
		http.Error(w, ErrInvalidJSON.Error(), http.StatusInternalServerError)
	case errors.As(err, &errno):
		cannotServe(w, errno.Error())
	default:
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
	}
	s.log.Error("directory request failed", "path", r.URL.Path, "error", err)
}

// vanished is dea_ng's answer when a path is no longer there; it is not a 404.
func vanished(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Cascade", "pass")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte("Entity not found.\n"))
}

func cannotServe(w http.ResponseWriter, why string) {
	body := "Can't serve request due to error: " + why
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = w.Write([]byte(body))
}
