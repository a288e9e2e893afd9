package directory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/deakit/deakit/internal/filewatch"
)

// Config sets up a Server.
type Config struct {
	// Resolver says where the files are: a Local, a Remote, a Static, or one of your own. Required.
	Resolver Resolver

	// StreamingTimeout ends a tail that had nothing to send for so long; default 60 s. A client that takes as long to
	// accept what is sent is given up, too.
	StreamingTimeout time.Duration

	// MaxEntries bounds how many entries a directory may have to be listed; default 100,000. Their names may have 16 MiB. One with
	// more is refused with 500.
	MaxEntries int

	// MaxArchive bounds the content of a directory that is sent as an archive, in bytes before they are compressed; default
	// 1 GiB. MaxEntries bounds its entries, whose paths in the archive may have 16 MiB. What is larger ends in the middle.
	MaxArchive int64

	// Archives bounds how many archives are packed at the same time, since that takes a processor each; default 2. One that
	// waits for its client is not packed meanwhile. When 16 times as many have begun, further requests are refused with 503.
	Archives int

	// Logger gets failures that the client is not told about, unless WithOutcome tells them to another. Nothing of a query or header is logged: both can carry
	// what lets a person read the files. Nil discards.
	Logger *slog.Logger
}

// A Server answers GET and HEAD requests (dea_ng): a directory with a listing in plain text, a file with its content, or
// with what is written to it from now on when the query has a parameter "tail". It does not care for the path of the
// request; the Resolver does. It refuses other methods with 405, and requests with a body with 400.
//
// A request that prefers application/json or text/html gets the listing so (see [Listing]); one that prefers
// application/zip or application/gzip, or has a query "archive=zip" or "archive=tgz", gets all that is below the directory,
// but no links and special files; another value, or a file, is refused with 400. In zip files what names mean on other systems is written as %XX. Where clients hold up more than
// 256 MiB of listings, further ones of more than 32 KiB are refused with 503.
//
// A tail begins at the byte "tail_offset", or at the present end. It ends cleanly when the file is renamed or deleted, after
// what was written before. It ends without the final chunk, so that a client can tell that there may be more, when nothing
// came for StreamingTimeout, or at Close. A truncated file is sent from its new beginning. With a parameter "tail_follow" the
// tail outlives the file: it goes on with the next one of that path, after all of the old one, as soon as the next has
// content; without "tail" it is refused with 400. Files that come and go within a fraction of a second may be missed then.
type Server struct {
	resolver   Resolver
	idle       time.Duration
	maxEntries int
	maxArchive int64
	archives   chan struct{} // holds a value for each that has begun
	packing    chan struct{} // and for each that does not wait for its client
	log        *slog.Logger
	watcher    filewatch.Watcher
	listings   sharing[listingKey]
	crowds     chan struct{}       // holds a value for each large directory that is being listed
	held       *semaphore.Weighted // bytes of listings that wait for their clients

	closing context.Context // ends at Close
	end     context.CancelFunc
	mu      sync.Mutex // orders tails.Add and Close
	tails   sync.WaitGroup
}

// waitingArchives is how many archives may have begun for each that is packed.
const waitingArchives = 16

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
	case cfg.MaxArchive < 0:
		return nil, fmt.Errorf("directory server: MaxArchive is %d; give a positive number, or 0 for 1 GiB", cfg.MaxArchive)
	case cfg.Archives < 0:
		return nil, fmt.Errorf("directory server: Archives is %d; give a positive number, or 0 for 2", cfg.Archives)
	}
	s := &Server{
		resolver: cfg.Resolver, log: cfg.Logger,
		idle:       cmp.Or(cfg.StreamingTimeout, 60*time.Second),
		maxEntries: cmp.Or(cfg.MaxEntries, 100_000),
		maxArchive: cmp.Or(cfg.MaxArchive, 1<<30),
	}
	s.crowds, s.held = make(chan struct{}, crowds), semaphore.NewWeighted(heldListings)
	turns := cmp.Or(cfg.Archives, 2)
	s.packing, s.archives = make(chan struct{}, turns), make(chan struct{}, turns*waitingArchives)
	s.closing, s.end = context.WithCancel(context.Background())
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
	if r.ContentLength != 0 {
		// As long as it is not read net/http does not notice that the client is gone. It would wait for it now, too.
		_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
		w.Header().Set("Connection", "close")
		http.Error(w, "A request for files has no body", http.StatusBadRequest)
		return
	}
	location, h, err := s.find(r)
	switch {
	case errors.Is(err, fs.ErrNotExist) && location.Missing == nil:
		s.report(r, slog.LevelDebug, "", err)
		vanished(w)
		return
	case errors.Is(err, errGone):
		s.refuse(w, r, fmt.Errorf("%w: %w", location.Missing, err))
		return
	case errors.Is(err, fs.ErrNotExist):
		s.refuse(w, r, location.Missing)
		return
	case err != nil:
		s.refuse(w, r, err)
		return
	}
	want := parseWishes(r.URL.RawQuery)
	if err := want.check(h.isDir()); err != nil {
		h.close()
		s.refuse(w, r, err)
		return
	}
	switch {
	case h.isDir():
		s.directory(w, r, h, want)
	case want.tail:
		s.tail(w, r, location, h, want)
	default:
		s.dump(w, r, h)
	}
}

// find opens what a request asks for. The error is one of the Resolver or of Location.Open.
func (s *Server) find(r *http.Request) (Location, *handle, error) {
	location, err := s.resolver.Resolve(r.Context(), r)
	if err != nil {
		return Location{Missing: err}, nil, err
	}
	h, err := location.open()
	if errors.Is(err, fs.ErrNotExist) && location.remembered != nil {
		if location, err = location.remembered.resolve(r.Context(), r); err != nil {
			return Location{Missing: err}, nil, err
		}
		h, err = location.open()
	}
	return location, h, err
}
