package directory

import (
	"bytes"
	"mime"
	"net/http"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Files up to this size are read whole: that costs fewer system calls than sendfile does, and socket buffers take them.
const smallFile = 32 << 10

// chunks are buffers of that size.
var chunks = sync.Pool{New: func() any { return new([smallFile]byte) }}

// dump answers with the content of a file, as of now, and closes it.
func (s *Server) dump(w http.ResponseWriter, r *http.Request, h *handle) {
	// The app writes the file and thereby its type; the page must not act in the name of the domain it comes from.
	w.Header()["Content-Security-Policy"] = sandbox
	w.Header()["X-Content-Type-Options"] = nosniff
	if h.stat.Size <= smallFile {
		s.dumpSmall(w, r, h)
		return
	}
	f := h.file()
	defer f.Close()
	patient := newPatientWriter(w)
	defer patient.end()
	http.ServeContent(patient, r, h.name, h.modified(), f)
}

func (s *Server) dumpSmall(w http.ResponseWriter, r *http.Request, h *handle) {
	defer h.close()
	buf := chunks.Get().(*[smallFile]byte)
	defer chunks.Put(buf)
	n, err := readAt(h.fd, buf[:h.stat.Size])
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if conditional(r.Header) {
		http.ServeContent(w, r, h.name, h.modified(), bytes.NewReader(buf[:n]))
		return
	}
	// What ServeContent does for such a request.
	header := w.Header()
	mediaType := mime.TypeByExtension(filepath.Ext(h.name))
	if mediaType == "" {
		mediaType = http.DetectContentType(buf[:n])
	}
	header["Content-Type"] = []string{mediaType}
	header["Accept-Ranges"] = acceptRanges
	if modified := h.modified(); modified.Unix() != 0 {
		header["Last-Modified"] = []string{modified.UTC().Format(http.TimeFormat)}
	}
	send(w, r, buf[:n])
}

// conditional reports whether a request asks for more than the whole content in any case.
func conditional(h http.Header) bool {
	for _, name := range []string{"Range", "If-Modified-Since", "If-Unmodified-Since", "If-Match", "If-None-Match"} {
		if len(h[name]) > 0 {
			return true
		}
	}
	return false
}

// readAt reads from the beginning of a file, less than asked for only where it ends.
func readAt(fd int, buf []byte) (n int, err error) {
	for n < len(buf) {
		var m int
		err := ignoringEINTR(func() error {
			var err error
			m, err = unix.Pread(fd, buf[n:], int64(n))
			return err
		})
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}
