package warden

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/atomicfile"
	"github.com/deakit/deakit/internal/containerkit"
	"github.com/deakit/deakit/internal/rmtree"
)

// The names in the state directory. Handles cannot begin with a dot.
const (
	lockName     = ".lock"
	copyDir      = ".copies" // what is on its way to and from containers
	exchangeName = "exchange"
	recordName   = "container.json"
	processDir   = "processes"

	processSuffix = ".json"
)

// A stateDir is where a Backend keeps what the protocol cannot, a directory for each container.
type stateDir struct {
	path string
	lock *os.File
}

// openState opens a state directory and locks it.
func openState(dir string) (*stateDir, error) {
	// Processes of containers pass through it to the exchange directories, whose names they know; they cannot look
	// around.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == lockName }) {
		return nil, fmt.Errorf("%s holds %q: %w", dir, entries[0].Name(), ErrNotState)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("%s: %w", dir, ErrStateInUse)
		}
		return nil, err
	}
	return &stateDir{dir, lock}, nil
}

func (s *stateDir) close() error { return s.lock.Close() }

func (s *stateDir) dir(handle string) string { return filepath.Join(s.path, handle) }

// sweep removes what belongs to no container.
func (s *stateDir) sweep(handles []string) error {
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == lockName || slices.Contains(handles, e.Name()) {
			continue
		}
		if err := rmtree.Path(filepath.Join(s.path, e.Name())); err != nil {
			return err
		}
	}
	return os.Mkdir(filepath.Join(s.path, copyDir), 0o711)
}

// temp returns a new directory for files on their way. It is removed by rmtree.Path.
func (s *stateDir) temp() (string, error) {
	return os.MkdirTemp(filepath.Join(s.path, copyDir), "")
}

// A record is what is remembered of a container.
type record struct {
	Whole      bool                     `json:"whole"`  // Create came to its end
	Root       string                   `json:"root"`   // container.Info.Root
	Env        containerkit.ExactList   `json:"env"`    // all processes share it
	Mounts     containerkit.ExactMounts `json:"mounts"` // from paths without links
	Limits     container.Limits         `json:"limits"`
	Ports      []container.PortMapping  `json:"ports"`
	Properties containerkit.ExactMap    `json:"properties"`
}

// newRecord returns the record of a container that is to be made.
func newRecord(spec container.Spec, mounts []container.BindMount) record {
	return record{Env: slices.Clone(spec.Env), Mounts: mounts, Properties: maps.Clone(spec.Properties)}
}

// properties returns those of the container.
func (r record) properties() map[string]string {
	out := map[string]string{}
	maps.Copy(out, r.Properties)
	return out
}

// A processRecord is what is remembered of a process.
type processRecord struct {
	Job        uint32 `json:"job"`
	PID        int    `json:"pid"` // as processes of the container know it
	Privileged bool   `json:"privileged"`
	Status     *int   `json:"status"` // null while it runs, or when nobody knows
	Lost       bool   `json:"lost"`   // nobody knows
}

// make makes the directory of a container. Its error is fs.ErrExist when there is one.
func (s *stateDir) make(handle string, r record) error {
	dir := s.dir(handle)
	if err := os.Mkdir(dir, 0o711); err != nil {
		return err
	}
	for _, name := range []string{exchangeName, processDir} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o711); err != nil {
			return err
		}
	}
	return s.save(handle, r)
}

func (s *stateDir) remove(handle string) error { return rmtree.Path(s.dir(handle)) }

func (s *stateDir) save(handle string, r record) error {
	return writeJSON(filepath.Join(s.dir(handle), recordName), r)
}

// load returns what is remembered of a container, or fs.ErrNotExist.
func (s *stateDir) load(handle string) (r record, err error) {
	return r, readJSON(filepath.Join(s.dir(handle), recordName), &r)
}

func (s *stateDir) processFile(handle string, id uint32) string {
	return filepath.Join(s.dir(handle), processDir, strconv.FormatUint(uint64(id), 10)+processSuffix)
}

func (s *stateDir) saveProcess(handle string, id uint32, r processRecord) error {
	return writeJSON(s.processFile(handle, id), r)
}

// loadProcesses returns what is remembered of the processes of a container.
func (s *stateDir) loadProcesses(handle string) (map[uint32]processRecord, error) {
	dir := filepath.Join(s.dir(handle), processDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	found := map[uint32]processRecord{}
	for _, e := range entries {
		number, ours := strings.CutSuffix(e.Name(), processSuffix)
		id, err := strconv.ParseUint(number, 10, 32)
		if !ours || err != nil {
			continue // the temporary file of a write that did not come to its end
		}
		var r processRecord
		if err := readJSON(filepath.Join(dir, e.Name()), &r); err != nil {
			return nil, err
		}
		found[uint32(id)] = r
	}
	return found, nil
}

// clearExchange removes the pipes that an earlier Backend left.
func (s *stateDir) clearExchange(handle string) error {
	dir := filepath.Join(s.dir(handle), exchangeName)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := rmtree.Path(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func writeJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(name, data, 0o600)
}

func readJSON(name string, v any) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
