package applog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/internal/filewatch"
)

// lookBytes bounds what is read of a file at one look.
const lookBytes = 256 << 10

// chunks are buffers for reading.
var chunks = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// fileFlags do not follow a link, do not wait for the writer of a FIFO, and never make a terminal the controlling one.
const fileFlags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC

// A stream is one log file of an instance: whatever file has its name at the time.
type stream struct {
	name    string
	lines   splitter
	emit    func([]byte)
	behind  int64 // most bytes to be behind
	fromEnd bool  // until the first look

	file     *os.File // nil while there is none
	dev, ino uint64
	pos      int64 // next byte to read
	skipped  int64 // bytes that were left out, not told yet
	left     int64 // bytes that may still be read
}

func newStream(name string, kind Stream, t *Tail) *stream {
	cfg := &t.follower.cfg
	return &stream{name: name, lines: splitter{max: cfg.MaxLine}, behind: cfg.MaxBehind, fromEnd: t.log.FromEnd,
		left: math.MaxInt64, emit: func(text []byte) { t.emit(kind, text) }}
}

// look reads what is new, up to a bound, and reports whether there was anything and whether there is more. A file that was
// replaced is read to its end first. One that was deleted is read on until another one has its name: that is what a
// process does that has it open.
func (s *stream) look(dir *filewatch.Follower) (found, more bool, err error) {
	dirFD := int(dir.File().Fd())
	fromEnd := s.fromEnd
	s.fromEnd = false
	other, err := s.another(dirFD)
	if s.file != nil {
		readFound, readMore, readErr := s.read()
		if err = errors.Join(err, readErr); readMore || err != nil || !other {
			return readFound, readMore, err
		}
		found = readFound
	}
	if !other {
		return found, false, err
	}
	s.lines.flush(s.emit)
	if err := s.open(dirFD); err != nil {
		return found, false, err
	}
	if fromEnd {
		s.pos = math.MaxInt64
	}
	readFound, more, err := s.read()
	return found || readFound, more, err
}

// another reports whether a regular file has the name that is not the one that is open.
func (s *stream) another(dirFD int) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(dirFD, s.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.EINTR):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at %s: %w", s.name, err)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return false, fmt.Errorf("%s is not a regular file; nothing is read from it", s.name)
	}
	return s.file == nil || st.Dev != s.dev || st.Ino != s.ino, nil
}

// open opens what has the name now; it may have changed since another looked.
func (s *stream) open(dirFD int) error {
	fd, err := unix.Openat(dirFD, s.name, fileFlags, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", s.name, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = unix.Close(fd)
		return fmt.Errorf("%s is not a regular file any more; nothing is read from it", s.name)
	}
	s.close()
	s.file, s.dev, s.ino, s.pos = os.NewFile(uintptr(fd), s.name), st.Dev, st.Ino, 0
	return nil
}

// read feeds what stands between the position and the present end of the file to the splitter, up to a bound.
func (s *stream) read() (found, more bool, err error) {
	info, err := s.file.Stat()
	if err != nil {
		return false, false, fmt.Errorf("look at %s: %w", s.name, err)
	}
	size := info.Size()
	s.seek(size)
	end := min(size, s.pos+lookBytes)
	buf := chunks.Get().(*[32 << 10]byte)
	defer chunks.Put(buf)
	for s.pos < end && s.left > 0 {
		n, err := s.file.ReadAt(buf[:min(int64(len(buf)), end-s.pos, s.left)], s.pos)
		s.lines.feed(buf[:n], s.emit)
		s.pos += int64(n)
		s.left -= int64(n)
		found = found || n > 0
		if errors.Is(err, io.EOF) {
			return found, false, nil // truncated meanwhile
		}
		if err != nil {
			return found, false, fmt.Errorf("read %s: %w", s.name, err)
		}
	}
	return found, s.pos < size && s.left > 0, nil
}

// seek moves the position where it has to be in a file of this size.
func (s *stream) seek(size int64) {
	switch {
	case s.pos == math.MaxInt64:
		s.pos = size // from the end
	case size < s.pos:
		s.lines.flush(s.emit) // what stood there before it was truncated
		s.pos = 0
	}
	if late := size - s.behind - s.pos; late > 0 {
		s.lines.flush(s.emit)
		s.skipped += late
		s.pos += late
	}
}

func (s *stream) close() {
	if s.file != nil {
		_ = s.file.Close() // it was only read
		s.file = nil
	}
}
