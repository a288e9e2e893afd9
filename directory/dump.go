package directory

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A dump of a large file has a minute, and a second for each 4 KiB; a client slower than that does not hold it open for
// ever.
const (
	dumpGrace = time.Minute
	dumpRate  = 4 << 10
)

// Files up to this size are read whole: that costs fewer system calls than sendfile does, and socket buffers take them.
const smallFile = 32 << 10

// chunks are buffers of that size.
var chunks = sync.Pool{New: func() any { return new([smallFile]byte) }}

// dump answers with the content of a file, as of now, and closes it.
func (s *Server) dump(w http.ResponseWriter, r *http.Request, h *handle) {
	// The app writes the file and thereby its type; the page must not act in the name of the domain it comes from.
	w.Header().Set("Content-Security-Policy", "sandbox")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if h.stat.Size <= smallFile {
		s.dumpSmall(w, r, h)
		return
	}
	f := h.file()
	defer f.Close()
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(dumpGrace + time.Duration(h.stat.Size/dumpRate)*time.Second))
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
	http.ServeContent(w, r, h.name, h.modified(), f)
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
	http.ServeContent(bufferWriter{w}, r, h.name, h.modified(), bytes.NewReader(buf[:n]))
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

// A bufferWriter copies from memory at once, where a ResponseWriter would split the first bytes off and allocate.
type bufferWriter struct{ http.ResponseWriter }

func (w bufferWriter) ReadFrom(src io.Reader) (int64, error) {
	buf := chunks.Get().(*[smallFile]byte)
	defer chunks.Put(buf)
	return io.CopyBuffer(onlyWriter{w.ResponseWriter}, src, buf[:])
}

// An onlyWriter hides ReadFrom.
type onlyWriter struct{ io.Writer }
