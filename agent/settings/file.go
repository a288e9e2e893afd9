package settings

import (
	"context"
	"fmt"
	"io"
	"os"
)

// File is a settings document in a file.
type File struct {
	Path string
}

// Settings reads the file.
func (f File) Settings(context.Context) (*Settings, error) {
	data, err := readFile(f.Path)
	if err != nil {
		return nil, err
	}
	s, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	return s, nil
}

// PublicSSHKey is none.
func (File) PublicSSHKey(context.Context) (string, error) { return "", nil }

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, name)
}

// readAll reads a document, which has a limit.
func readAll(r io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxDocument {
		return nil, fmt.Errorf("read %s: more than %d bytes", name, maxDocument)
	}
	return data, nil
}
