package fileserver

import (
	"io"
	"net/http"
	"strconv"
)

// A recorder remembers what was answered. It hides none of what the server's own ResponseWriter can do.
type recorder struct {
	http.ResponseWriter
	head   bool // the answer has no body
	begun  bool
	status int
	length int64 // of the body, as announced; -1: it ends when it ends
	bytes  int64 // of the body, so far
	err    error // of the first write that failed
}

func newRecorder(w http.ResponseWriter, method string) *recorder {
	return &recorder{ResponseWriter: w, head: method == http.MethodHead, status: http.StatusOK, length: -1}
}

// whole reports whether the client got all of an answer, as far as the server can know.
func (r *recorder) whole() bool {
	return r.err == nil && (r.head || r.begun && (r.length < 0 || r.bytes == r.length))
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	r.begin(status)
	r.ResponseWriter.WriteHeader(status)
}

// begin notes what the header says.
func (r *recorder) begin(status int) {
	if r.begun {
		return
	}
	r.begun, r.status = true, status
	if status == http.StatusNotModified || status == http.StatusNoContent {
		return
	}
	if n, err := strconv.ParseInt(r.Header().Get("Content-Length"), 10, 64); err == nil {
		r.length = n
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.begin(http.StatusOK)
	n, err := r.ResponseWriter.Write(b)
	return n, r.sent(int64(n), err)
}

// ReadFrom keeps sendfile.
func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	r.begin(http.StatusOK)
	n, err := io.Copy(r.ResponseWriter, src)
	return n, r.sent(n, err)
}

func (r *recorder) sent(n int64, err error) error {
	r.bytes += n
	if r.err == nil {
		r.err = err
	}
	return err
}
