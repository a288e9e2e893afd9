package settings

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// A Source is a place where an infrastructure keeps settings.
type Source interface {
	// Settings fetches them anew.
	Settings(ctx context.Context) (*Settings, error)

	// PublicSSHKey fetches the key that the infrastructure was told to let in; it is empty where there is none.
	PublicSSHKey(ctx context.Context) (string, error)
}

// A Wiper is a source that can be read only once: Wipe removes what it had. A [Loader] calls it once the settings are
// safe.
type Wiper interface {
	Wipe(ctx context.Context) error
}

// Errors of sources.
var (
	// ErrNoSettings: the source answers, but not with settings.
	ErrNoSettings = errors.New("Metadata does not provide settings") //nolint:staticcheck // text of the original
	// ErrNoSources: there is nothing to ask.
	ErrNoSources = errors.New("MultiSettingsSource requires to have at least one source") //nolint:staticcheck // text of the original
)

// Multi asks several sources in order. The first that answers is the only one that is asked from then on; settings and
// keys may come from different ones. It may be used from any goroutine.
type Multi struct {
	sources []Source

	mu       sync.Mutex
	settings Source
	key      Source
}

// NewMulti fails with [ErrNoSources] if there are none.
func NewMulti(sources ...Source) (*Multi, error) {
	if len(sources) == 0 {
		return nil, ErrNoSources
	}
	return &Multi{sources: sources}, nil
}

// Settings asks for settings.
func (m *Multi) Settings(ctx context.Context) (*Settings, error) {
	return first(m, &m.settings, func(s Source) (*Settings, error) { return s.Settings(ctx) })
}

// PublicSSHKey asks for a key. That there is none is an answer.
func (m *Multi) PublicSSHKey(ctx context.Context) (string, error) {
	return first(m, &m.key, func(s Source) (string, error) { return s.PublicSSHKey(ctx) })
}

// Wipe wipes the source that the settings came from, if it can be.
func (m *Multi) Wipe(ctx context.Context) error {
	m.mu.Lock()
	source := m.settings
	m.mu.Unlock()
	if w, ok := source.(Wiper); ok {
		return w.Wipe(ctx)
	}
	return nil
}

func first[T any](m *Multi, chosen *Source, ask func(Source) (T, error)) (T, error) {
	m.mu.Lock()
	source := *chosen
	m.mu.Unlock()
	if source != nil {
		return ask(source)
	}
	var errs []error
	for _, source := range m.sources {
		answer, err := ask(source)
		if err == nil {
			m.mu.Lock()
			*chosen = source
			m.mu.Unlock()
			return answer, nil
		}
		errs = append(errs, fmt.Errorf("%T: %w", source, err))
	}
	var none T
	return none, fmt.Errorf("no source of settings answered: %w", errors.Join(errs...))
}
