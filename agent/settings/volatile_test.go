package settings_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/settings"
)

// TestVolatile: settings that want it leave nothing where it outlives the machine.
func TestVolatile(t *testing.T) {
	dir := t.TempDir()
	names := func(parts ...string) (all []string) {
		entries, err := os.ReadDir(filepath.Join(append([]string{dir}, parts...)...))
		require.NoError(t, err)
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return all
	}
	source := &changing{text: `{"agent_id":"a"}`}
	fault := error(nil)
	cfg := settings.LoaderConfig{Source: source, Dir: dir, Volatile: func(_ context.Context, dir string) error {
		if fault != nil {
			return fault
		}
		return os.MkdirAll(dir, 0o700)
	}}
	l := settings.NewLoader(cfg)
	_, err := l.Load(t.Context())
	require.NoError(t, err)
	_, err = l.Apply(settings.Update{TrustedCerts: "before"})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "persistent_disk_hints.json"), []byte("{}"), 0o600))
	assert.Equal(t, dir, l.Dir())

	source.text = `{"agent_id":"b","env":{"bosh":{"agent":{"settings":{"tmpfs":true}}}}}`
	fault = errors.New("no memory")
	_, err = l.Load(t.Context())
	require.ErrorIs(t, err, fault)
	assert.Equal(t, []string{"persistent_disk_hints.json", "settings.json", "update_settings.json"}, names())
	fault = nil
	_, err = l.Load(t.Context())
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "settings"), l.Dir())
	assert.Equal(t, []string{"settings"}, names())
	assert.Equal(t, []string{"persistent_disk_hints.json", "settings.json", "update_settings.json"}, names("settings"))
	update, err := l.Update()
	require.NoError(t, err)
	assert.Equal(t, "before", update.TrustedCerts)

	// The agent comes up again, while the source does not answer.
	source.err = errors.New("no answer")
	l = settings.NewLoader(cfg)
	s, err := l.Load(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "b", s.AgentID)
	update, err = l.Update()
	require.NoError(t, err)
	assert.Equal(t, "before", update.TrustedCerts)
	require.NoError(t, l.Forget())
	_, err = settings.NewLoader(cfg).Load(t.Context())
	require.ErrorIs(t, err, source.err)

	// Nobody can have it so: they are kept as others.
	cfg.Volatile, source.err = nil, nil
	l = settings.NewLoader(cfg)
	_, err = l.Load(t.Context())
	require.NoError(t, err)
	assert.Equal(t, dir, l.Dir())
	assert.FileExists(t, filepath.Join(dir, "settings.json"))
}

// changing is a source.
type changing struct {
	text string
	err  error
}

func (c *changing) Settings(context.Context) (*settings.Settings, error) {
	if c.err != nil {
		return nil, c.err
	}
	return settings.Parse([]byte(c.text))
}
func (*changing) PublicSSHKey(context.Context) (string, error) { return "", nil }
