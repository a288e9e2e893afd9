package logging

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// A file is a log file that can be opened again under way.
type file struct {
	path string

	mu sync.Mutex
	f  *os.File // nil after Close
}

func openFile(path string) (*file, error) {
	f, err := appendTo(path)
	if err != nil {
		return nil, err
	}
	return &file{path: path, f: f}, nil
}

func appendTo(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("log file: %w; give a path whose directory exists and can be written to", err)
	}
	return f, nil
}

func (l *file) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return 0, fmt.Errorf("log file: %w", os.ErrClosed)
	}
	return l.f.Write(line)
}

func (l *file) reopen() error {
	next, err := appendTo(l.path)
	if err != nil {
		return err
	}
	l.mu.Lock()
	if l.f == nil {
		l.mu.Unlock()
		return errors.Join(fmt.Errorf("log file: %w", os.ErrClosed), next.Close())
	}
	last := l.f
	l.f = next
	l.mu.Unlock()
	return last.Close()
}

func (l *file) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}
