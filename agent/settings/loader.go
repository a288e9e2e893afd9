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
)

// A Loader loads settings and keeps them, and the updates of a director, in files. Its methods may be called from
// several goroutines at once.
type Loader struct {
	source Source
	dir    string
	log    *slog.Logger

	mu sync.Mutex // of the files
}

// LoaderConfig says where settings come from and where they are kept.
type LoaderConfig struct {
	Source Source
	Dir    string       // of settings.json and update_settings.json; an agent has base/bosh; made if it is not there
	Logger *slog.Logger // nil discards
}

// NewLoader returns a loader, which has loaded nothing yet.
func NewLoader(cfg LoaderConfig) *Loader {
	return &Loader{source: cfg.Source, dir: cfg.Dir, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))}
}

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
	s, err := l.source.Settings(ctx)
	if err == nil {
		l.keep(ctx, s)
		return s, nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("load settings: %w", context.Cause(ctx))
	}
	kept, fault := File{l.path(cacheName)}.Settings(ctx)
	if fault != nil {
		return nil, &LoadError{err, fault}
	}
	l.log.Warn("settings.from_cache", "error", err, "agent_id", kept)
	return kept, nil
}

// keep stores settings for the time when the source does not answer. If it cannot, they stay where they can be read again.
func (l *Loader) keep(ctx context.Context, s *Settings) {
	data, err := s.JSON()
	if err == nil {
		err = l.write(cacheName, data)
	}
	if err != nil {
		l.log.Warn("settings.not_kept", "error", err, "hint", "without the source, the next start has older settings or none")
		return
	}
	if w, ok := l.source.(Wiper); ok {
		if err := w.Wipe(ctx); err != nil {
			// The settings are here. That others could read them too is no reason to do without.
			l.log.Error("settings.not_wiped", "error", err)
		}
	}
}

// PublicSSHKey asks the source.
func (l *Loader) PublicSSHKey(ctx context.Context) (string, error) { return l.source.PublicSSHKey(ctx) }

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
		return Update{}, fmt.Errorf("read what the director changed, %s: %w", l.path(updateName), err)
	}
	return u, nil
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
	if err := os.Remove(l.path(cacheName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget settings: %w", err)
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
