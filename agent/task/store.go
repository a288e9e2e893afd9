package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/deakit/deakit/internal/atomicfile"
)

// A Store is the file of persistent tasks. Only its owner reads it: requests hold secrets. It may be used by one Manager.
type Store struct {
	path string

	mu      sync.Mutex
	entries map[string]entry
}

// An entry is a task as the Go agent writes it; the payload is base64 of the request. That it waits is our own: the Go agent has
// nothing of the kind, and its tasks count as begun.
type entry struct {
	TaskID  string
	Method  string
	Payload []byte
	Waiting bool `json:",omitempty"` // it has not begun
}

// maxStore bounds what is read of a file, bytes.
const maxStore = 64 << 20

// NewStore names the file, such as /var/vcap/bosh/tasks.json. The directory is made when it is needed.
func NewStore(path string) *Store { return &Store{path: path, entries: map[string]entry{}} }

// load reads the file, sorted by id. One that makes no sense is kept under another name.
func (s *Store) load(log *slog.Logger) ([]entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read persistent tasks: %w", err)
	}
	read := map[string]entry{}
	reason := fmt.Errorf("more than %d bytes", maxStore)
	if info.Size() <= maxStore {
		data, err := os.ReadFile(s.path)
		if err != nil {
			return nil, fmt.Errorf("read persistent tasks: %w", err)
		}
		reason = json.Unmarshal(data, &read)
	}
	if reason != nil {
		aside := s.path + ".unreadable"
		log.Error("agent.tasks.unreadable", "file", s.path, "error", reason, "kept", aside)
		if err := os.Rename(s.path, aside); err != nil {
			return nil, fmt.Errorf("put persistent tasks aside: %w", err)
		}
		return nil, nil
	}
	var all []entry
	for id, e := range read {
		e.TaskID = id // the key is what counts
		s.entries[id] = e
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.TaskID, b.TaskID) })
	return all, nil
}

// add writes a task down; when it returns nil the task is on disk.
func (s *Store) add(e entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[e.TaskID] = e
	err := s.write()
	if err != nil {
		delete(s.entries, e.TaskID)
	}
	return err
}

// begin notes that a task is about to begin; when it returns nil that is on disk.
func (s *Store) begin(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[id]
	e.Waiting = false
	s.entries[id] = e
	return s.write()
}

// remove crosses a task out.
func (s *Store) remove(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, id)
	return s.write()
}

func (s *Store) write() error {
	data, err := json.Marshal(s.entries)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.path), 0o750)
	}
	if err == nil {
		err = atomicfile.WriteFile(s.path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write persistent tasks: %w", err)
	}
	return nil
}
