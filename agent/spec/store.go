package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/deakit/deakit/internal/atomicfile"
)

const (
	specFile = "bosh/spec.json"
	// maxSpec bounds the file, which somebody may have put there. A spec came in one message.
	maxSpec = 64 << 20
)

// A Store keeps the spec that is applied, in bosh/spec.json of a base directory, and what jobs read of it in instance/.
// Its methods may be called from several goroutines at once; nobody else writes these files.
type Store struct {
	base string
	mu   sync.Mutex
	file fs.FileInfo // of what was read last, nil: nothing was
	last Spec
}

// NewStore returns the store of a base directory, which must exist when it is used.
func NewStore(base string) *Store { return &Store{base: base} }

// Load returns the spec that is applied: the zero spec where there was none yet. One that is malformed is an [ErrInvalid]. Its
// lists and maps belong to the store: nobody changes them. The file is read when it is another than the last time.
func (s *Store) Load() (Spec, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := os.Lstat(filepath.Join(s.base, specFile))
	if err == nil && s.file != nil && same(s.file, info) {
		return s.last, nil
	}
	s.file, s.last = nil, Spec{}
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(s.base); err != nil {
			return Spec{}, fmt.Errorf("load spec: %w", err)
		}
		return Spec{}, nil
	}
	data, info, err := s.read()
	if err != nil {
		return Spec{}, fmt.Errorf("load spec: %w", err)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return Spec{}, nil
	}
	var spec Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		if !errors.Is(err, ErrInvalid) {
			err = fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return Spec{}, fmt.Errorf("load spec: %s: %w: apply the spec again, or remove the file", path.Join(s.base, specFile), err)
	}
	s.file, s.last = info, spec
	return spec, nil
}

// same tells whether a file is as it was: the store replaces it as a whole, and who edits it changes its time.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// read returns the file, and what it was when it was read.
func (s *Store) read() ([]byte, fs.FileInfo, error) {
	root, err := os.OpenRoot(s.base)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	f, err := root.Open(specFile)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSpec+1))
	if err == nil && len(data) > maxSpec {
		err = fmt.Errorf("%s has more than %d bytes", f.Name(), maxSpec)
	}
	return data, info, err
}

// Save keeps a spec. Each file is replaced as a whole; spec.json, which may hold secrets, is for its owner alone. The spec
// comes last: where it can be read, the other files belong to it.
func (s *Store) Save(spec Spec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file, s.last = nil, Spec{}
	if err := s.save(spec); err != nil {
		return fmt.Errorf("save spec: %w", err)
	}
	return nil
}

func (s *Store) save(spec Spec) error {
	data, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(s.base)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, dir := range []string{"bosh", "instance"} {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, file := range []struct{ name, text string }{
		{"id", spec.ID}, {"az", spec.AZ}, {"name", spec.Name}, {"deployment", spec.Deployment},
	} {
		if err := atomicfile.WriteFileIn(root, path.Join("instance", file.name), []byte(file.text), 0o644); err != nil {
			return err
		}
	}
	return atomicfile.WriteFileIn(root, specFile, data, 0o600)
}

// Clean removes what a process that was killed left half-written. It is for the start, while nobody else writes into bosh
// and instance below the base directory.
func (s *Store) Clean() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, dir := range []string{"bosh", "instance"} {
		left, err := filepath.Glob(filepath.Join(s.base, dir, atomicfile.TempPrefix+"*"))
		if err != nil {
			return fmt.Errorf("clean up %s: %w", dir, err)
		}
		for _, name := range left {
			if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("clean up %s: %w", dir, err)
			}
		}
	}
	return nil
}
