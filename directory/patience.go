package directory

import (
	"io"
	"math"
	"net/http"
	"time"
)

// A client has five minutes to accept each MiB of a large answer, or what is left of one, and is given up else: it holds a file
// open, and what a file claims to be in size costs an app nothing.
const (
	stretchSize = 1 << 20
	stretchTime = 5 * time.Minute
)

// A patientWriter gives the client its time. What passes between writes does not count.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration // how long one write may take at most
	bytes   int64         // that are left of a stretch
	time    time.Duration // that the client has for them
	begun   bool
}

func newPatientWriter(w http.ResponseWriter) *patientWriter {
	return &patientWriter{ResponseWriter: w, control: http.NewResponseController(w), stall: stretchTime}
}

// Unwrap is for http.ResponseController.
func (p *patientWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// end gives time for what net/http sends after the handler: what it has gathered, and the final chunk. It takes the deadline back
// before the next request of the connection.
func (p *patientWriter) end() { _ = p.control.SetWriteDeadline(time.Now().Add(p.stall)) }

func (p *patientWriter) Write(b []byte) (n int, err error) {
	for first := true; first || len(b) > 0; first = false {
		m, err := p.send(int64(len(b)), func(most int64) (int64, error) {
			m, err := p.ResponseWriter.Write(b[:most])
			return int64(m), err
		})
		n, b = n+int(m), b[m:]
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// ReadFrom keeps sendfile, which knows a file behind one io.LimitedReader.
func (p *patientWriter) ReadFrom(src io.Reader) (n int64, err error) {
	from := &io.LimitedReader{R: src, N: math.MaxInt64}
	if limited, ok := src.(*io.LimitedReader); ok {
		from = limited
	}
	for from.N > 0 {
		var piece io.LimitedReader
		m, err := p.send(from.N, func(most int64) (int64, error) {
			piece = io.LimitedReader{R: from.R, N: most}
			return io.Copy(p.ResponseWriter, &piece)
		})
		n, from.N = n+m, from.N-m
		if err != nil || piece.N > 0 { // the end came sooner
			return n, err
		}
	}
	return n, nil
}

// send lets f send as much of size bytes as there is time for.
func (p *patientWriter) send(size int64, f func(most int64) (int64, error)) (int64, error) {
	if p.bytes <= 0 {
		p.bytes, p.time = stretchSize, stretchTime
	}
	p.begun = true
	began := time.Now()
	_ = p.control.SetWriteDeadline(began.Add(min(p.stall, p.time)))
	n, err := f(min(size, p.bytes))
	p.bytes -= n
	p.time -= time.Since(began)
	return n, err
}
