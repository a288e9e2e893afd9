package fileserver

import (
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/deakit/deakit/directory"
	"github.com/deakit/deakit/internal/logtext"
)

// An access is a handler that writes a line about each request, after its end, and counts. Of the query it logs the path of the
// file and whether it is a tail: the rest is what lets people read the file. Of the header it logs whom a router forwards for.
type access struct {
	next   http.Handler
	log    *slog.Logger
	counts counts
}

// ServeHTTP passes the panic on by which an answer is ended that is not complete.
func (a *access) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	file, tail := directory.Asked(r.URL.RawQuery)
	a.counts.begin(tail)
	answer := &recorder{ResponseWriter: w, status: http.StatusOK}
	complete := false
	defer func() {
		a.counts.end(tail, answer, complete)
		attrs := []any{
			"method", logtext.OfURL(r.Method), "path", logtext.OfURL(r.URL.Path), "file", logtext.OfURL(file), "tail", tail,
			"status", answer.status, "bytes", answer.bytes, "complete", complete, "duration", time.Since(began), "from", r.RemoteAddr,
		}
		if client := r.Header.Get("X-Forwarded-For"); client != "" {
			attrs = append(attrs, "forwarded_for", logtext.OfURL(client))
		}
		a.log.Info("directory.request", attrs...)
	}()
	a.next.ServeHTTP(answer, r)
	complete = true
}

// A recorder remembers what was answered. It hides none of what the server's own ResponseWriter can do.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64 // of the body
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// ReadFrom keeps sendfile.
func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	n, err := io.Copy(r.ResponseWriter, src)
	r.bytes += n
	return n, err
}
