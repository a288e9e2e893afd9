package garden

import (
	"fmt"
	"io"
)

// endMark is how many zero bytes end a tar stream, at least.
const endMark = 1024

// A tarStream is the body of an answer. The server ends it properly also when it failed half way, so the end of a tar
// stream is looked for.
type tarStream struct {
	body  io.ReadCloser
	zeros int // how many came last
}

// Read reads, and fails at an end that comes too early.
func (s *tarStream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	for i := n - 1; i >= -1; i-- {
		if i < 0 {
			s.zeros = min(s.zeros+n, endMark)
		} else if p[i] != 0 {
			s.zeros = min(n-1-i, endMark)
			break
		}
	}
	if err == io.EOF && s.zeros < endMark {
		err = fmt.Errorf("the server ended the stream amid the archive: %w", io.ErrUnexpectedEOF)
	}
	return n, err
}

// Close ends the request.
func (s *tarStream) Close() error { return s.body.Close() }
