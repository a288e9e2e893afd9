package settings

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/deakit/deakit/internal/atomicfile"
)

const (
	cacheName  = "settings.json"
	updateName = "update_settings.json"
	hintsName  = "persistent_disk_hints.json" // which package disk keeps where the others are
)

// A Loader loads settings and keeps them, and the updates of a director, in files. Its methods may be called from
// several goroutines at once.
type Loader struct {
	cfg LoaderConfig
	log *slog.Logger

	mu  sync.Mutex // of the files
	dir string     // where they are
}

// LoaderConfig says where settings come from and where they are kept.
type LoaderConfig struct {
	Source Source
	Dir    string       // of settings.json and update_settings.json; an agent has base/bosh; made if it is not there
	Logger *slog.Logger // nil discards

	// Volatile makes a directory one whose files do not outlive the machine; when it is so already, nothing happens. Settings that
	// say so (env.bosh.agent.settings.tmpfs) are kept in Dir/settings then, with what else there was in Dir of them and of hints
	// about disks. Nil: they are kept as all others are.
	Volatile func(ctx context.Context, dir string) error
}

// NewLoader returns a loader, which has loaded nothing yet.
func NewLoader(cfg LoaderConfig) *Loader {
	return &Loader{cfg: cfg, dir: cfg.Dir, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))}
}

// Dir is where the files are; settings that have been loaded may have them in another directory than before.
func (l *Loader) Dir() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dir
}

// volatileDir is where settings are that want that.
func (l *Loader) volatileDir() string { return filepath.Join(l.cfg.Dir, "settings") }

// A LoadError says that there are settings neither in the source nor in the file.
type LoadError struct{ Source, Cache error }

func (e *LoadError) Error() string {
	return fmt.Sprintf("load settings: %v; and from what was kept: %v", e.Source, e.Cache)
}

// Unwrap returns both reasons.
func (e *LoadError) Unwrap() []error { return []error{e.Source, e.Cache} }

// Load asks the source and keeps what it says, with the keys that are not known here. That they cannot be kept, as on a full
// disk, is told in the log. If the source fails it returns what was kept, if that fails too a [*LoadError].
func (l *Loader) Load(ctx context.Context) (*Settings, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := l.cfg.Source.Settings(ctx)
	if err == nil {
		if err := l.place(ctx, s); err != nil {
			return nil, fmt.Errorf("keep settings: %w", err)
		}
		l.keep(ctx, s)
		return s, nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("load settings: %w", context.Cause(ctx))
	}
	kept, fault := l.kept(ctx)
	if fault != nil {
		return nil, &LoadError{err, fault}
	}
	l.log.Warn("settings.from_cache", "error", err, "agent_id", kept)
	return kept, nil
}

// kept reads what was kept, wherever.
func (l *Loader) kept(ctx context.Context) (*Settings, error) {
	s, err := File{l.path(cacheName)}.Settings(ctx)
	if errors.Is(err, fs.ErrNotExist) && l.cfg.Volatile != nil && l.dir == l.cfg.Dir {
		if s, err := (File{filepath.Join(l.volatileDir(), cacheName)}).Settings(ctx); err == nil {
			l.dir = l.volatileDir()
			return s, nil
		}
	}
	return s, err
}

// keep stores settings for the time when the source does not answer. If it cannot, they stay where they can be read again.
func (l *Loader) keep(ctx context.Context, s *Settings) {
	data, err := s.JSON()
	if err == nil {
		err = l.write(cacheName, data)
	}
	if err == nil && l.dir != l.cfg.Dir {
		err = remove(filepath.Join(l.cfg.Dir, cacheName)) // of a time when they were kept there
	}
	if err != nil {
		l.log.Warn("settings.not_kept", "error", err, "hint", "without the source, the next start has older settings or none")
		return
	}
	if w, ok := l.cfg.Source.(Wiper); ok {
		if err := w.Wipe(ctx); err != nil {
			// The settings are here. That others could read them too is no reason to do without.
			l.log.Error("settings.not_wiped", "error", err)
		}
	}
}

// place moves to where settings want to be kept, with what else was kept beside them.
func (l *Loader) place(ctx context.Context, s *Settings) error {
	if l.cfg.Volatile == nil || !s.Env.Bosh.Agent.Settings.Tmpfs || l.dir == l.volatileDir() {
		return nil
	}
	if err := l.cfg.Volatile(ctx, l.volatileDir()); err != nil {
		return err
	}
	for _, name := range []string{updateName, hintsName} {
		if err := move(filepath.Join(l.cfg.Dir, name), filepath.Join(l.volatileDir(), name)); err != nil {
			return err
		}
	}
	l.dir = l.volatileDir()
	return nil
}

// move moves a file with secrets to another file system; it is no error that there is none.
func move(from, to string) error {
	data, err := readFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = atomicfile.WriteFile(to, data, 0o600)
	}
	if err == nil {
		err = os.Remove(from)
	}
	return err
}

// PublicSSHKey asks the source.
func (l *Loader) PublicSSHKey(ctx context.Context) (string, error) {
	return l.cfg.Source.PublicSSHKey(ctx)
}

// Update returns what a director has changed so far: the zero Update if nothing.
func (l *Loader) Update() (Update, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.update()
}

func (l *Loader) update() (Update, error) {
	var u Update
	data, err := readFile(l.path(updateName))
	if errors.Is(err, fs.ErrNotExist) {
		return u, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &u)
	}
	if err != nil {
		return Update{}, fmt.Errorf("read what the director changed, %s: %w: mend the file, or remove it to do without", l.path(updateName), err)
	}
	return u, nil
}

// UpdateFile is where what Update returns is kept.
func (l *Loader) UpdateFile() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.path(updateName)
}

// Apply merges a change into what is kept, and tells whether the agent must start anew for it to count.
func (l *Loader) Apply(next Update) (restart bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept, err := l.update()
	if err != nil {
		return false, err
	}
	merged, restart := kept.Merge(next)
	data, err := json.Marshal(merged)
	if err == nil {
		err = l.write(updateName, data)
	}
	if err != nil {
		return false, fmt.Errorf("keep what the director changed: %w", err)
	}
	return restart, nil
}

// Forget removes the kept settings, so that the next Load cannot fall back to them.
func (l *Loader) Forget() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := remove(l.path(cacheName)); err != nil {
		return fmt.Errorf("forget settings: %w", err)
	}
	return nil
}

// remove removes a file; it is no error that there is none.
func remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (l *Loader) path(name string) string { return filepath.Join(l.dir, name) }

// write keeps a file that holds secrets.
func (l *Loader) write(name string, data []byte) error {
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return err
	}
	return atomicfile.UpdateFile(l.path(name), data, 0o600)
}
