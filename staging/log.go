package staging

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

const (
	tailBytes = 8 << 10
	tailLines = 20
)

// LogOptions are the options of [NewLog]. The zero value is useful.
type LogOptions struct {
	// MaxBytes bounds what programs write; default 16 MiB. A line at the bound tells that the rest is missing.
	MaxBytes int64

	// Copy gets what the file gets, as it comes. It slows the programs down if it is slow, and gets no more once it
	// failed. Nil means no copy.
	Copy io.Writer
}

// A Log records a staging in a file of the host. Programs in the container cannot reach it: the file in the droplet is
// a copy. Whoever wants to follow the log reads the file. It may be used from several goroutines at once, and writing to
// it never fails; what comes after Close is dropped.
type Log struct {
	mu   sync.Mutex
	file *os.File
	copy io.Writer
	max  int64
	size int64
	full bool  // the bound was met
	err  error // the first one of the file
	tail []byte
}

// NewLog makes the file called name, which must not exist, mode 0644. An empty name makes a temporary file that has no
// name and vanishes with Close. The caller calls Close, and removes the file.
func NewLog(name string, opts LogOptions) (*Log, error) {
	file, err := openLog(name)
	if err != nil {
		return nil, fmt.Errorf("staging log: %w", err)
	}
	return &Log{file: file, copy: opts.Copy, max: cmp.Or(opts.MaxBytes, 16<<20)}, nil
}

func openLog(name string) (*os.File, error) {
	if name != "" {
		return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	}
	file, err := os.CreateTemp("", "staging-log-")
	if err != nil {
		return nil, err
	}
	return file, os.Remove(file.Name())
}

// Write records output of a program. It always takes all of p.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, p[max(len(p)-tailBytes, 0):]...)
	l.tail = l.tail[max(len(l.tail)-tailBytes, 0):]
	if l.full {
		return len(p), nil
	}
	fits := p[:min(int64(len(p)), max(l.max-l.size, 0))] // lines of the platform's own may have gone beyond
	l.put(fits)
	if len(fits) < len(p) {
		l.full = true
		l.put(fmt.Appendf(nil, "\n-----> The log has more than %d bytes, the rest is left out\n", l.max))
	}
	return len(p), nil
}

// Line records a line of the platform's own, also when programs have written too much.
func (l *Log) Line(format string, args ...any) {
	text := fmt.Appendf(nil, format+"\n", args...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(text)
}

// put writes to file and copy. l.mu is held.
func (l *Log) put(p []byte) {
	if l.file == nil {
		return
	}
	if _, err := l.file.Write(p); err != nil && l.err == nil {
		l.err = err
	}
	l.size += int64(len(p))
	if l.copy != nil {
		if _, err := l.copy.Write(p); err != nil {
			l.copy = nil
		}
	}
}

// lastLines returns the end of what programs wrote.
func (l *Log) lastLines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.TrimRight(strings.ToValidUTF8(string(l.tail), "\uFFFD"), "\n")
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	if len(l.tail) == tailBytes && len(lines) > 1 {
		lines = lines[1:] // which is cut off at its beginning
	}
	return lines[max(len(lines)-tailLines, 0):]
}

var errLogClosed = errors.New("staging log is closed")

// content returns what was recorded so far.
func (l *Log) content() (*io.SectionReader, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.file == nil:
		return nil, errLogClosed
	case l.err != nil:
		return nil, fmt.Errorf("staging log: %w", l.err)
	}
	info, err := l.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("staging log: %w", err)
	}
	return io.NewSectionReader(l.file, 0, info.Size()), nil
}

// Close closes the file. Only the first call does something.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
