package applog

import (
	"bytes"
	"unicode/utf8"
)

// A splitter cuts what is written to a file into lines. A line that is longer than max bytes becomes several.
type splitter struct {
	max     int
	partial []byte // the beginning of a line whose end has not come yet, hardly longer than max
}

// feed takes the next piece of the file. It calls emit for each line that is complete, without its end ("\n" or
// "\r\n"); what emit gets is valid during the call only.
func (s *splitter) feed(data []byte, emit func([]byte)) {
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		if end >= 0 {
			s.line(data[:end], emit)
			data = data[end+1:]
			continue
		}
		s.partial = s.pieces(append(s.partial, data...), emit)
		return
	}
}

// line emits the partial line with its rest.
func (s *splitter) line(rest []byte, emit func([]byte)) {
	if len(s.partial) > 0 {
		rest = append(s.partial, rest...)
		s.partial = rest[:0] // its memory is of use again once the line is emitted
	}
	rest = bytes.TrimSuffix(rest, []byte{'\r'})
	for len(rest) > s.max {
		n := boundary(rest, s.max)
		emit(rest[:n])
		rest = rest[n:]
	}
	emit(rest)
	if cap(s.partial) > idleBuffer {
		s.partial = nil
	}
}

// idleBuffer bounds the memory that is kept for the next partial line, in bytes: there are many splitters.
const idleBuffer = 4 << 10

// pieces emits what is too long to wait for its end, and returns the rest.
func (s *splitter) pieces(text []byte, emit func([]byte)) []byte {
	whole := text
	for len(text) >= s.max+utf8.UTFMax {
		n := boundary(text, s.max)
		emit(text[:n])
		text = text[n:]
	}
	return whole[:copy(whole, text)]
}

// flush emits a partial line as it is.
func (s *splitter) flush(emit func([]byte)) {
	if len(s.partial) > 0 {
		s.line(nil, emit)
	}
	s.partial = nil
}

// boundary returns where to cut text, at most at max, so that no character is cut; what is no UTF-8 is cut anywhere.
func boundary(text []byte, max int) int {
	for n := max; n > max-utf8.UTFMax && n > 0; n-- {
		if utf8.RuneStart(text[n]) {
			return n
		}
	}
	return max
}
