package settings_test

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/settings"
)

// A stub source says what it is told to.
type stub struct {
	text  string
	err   error
	calls int
}

func (s *stub) Settings(context.Context) (*settings.Settings, error) {
	s.calls++
	if s.err != nil {
		return nil, s.err
	}
	return settings.Parse([]byte(s.text))
}

func (s *stub) PublicSSHKey(context.Context) (string, error) {
	s.calls++
	return s.text, s.err
}

func TestLoadFallsBackToTheCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bosh")
	source := &stub{text: composed}
	var log strings.Builder
	loader := settings.NewLoader(settings.LoaderConfig{Source: source, Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	down := errors.New("the source is down")

	source.err = down
	_, err := loader.Load(t.Context())
	var both *settings.LoadError
	require.ErrorAs(t, err, &both)
	require.ErrorIs(t, err, down)
	require.ErrorIs(t, err, os.ErrNotExist)

	source.err = nil
	fresh, err := loader.Load(t.Context())
	require.NoError(t, err)
	cache := filepath.Join(dir, "settings.json")
	kept, err := os.ReadFile(cache)
	require.NoError(t, err)
	assert.Equal(t, composed, string(kept), "with all keys")
	info, err := os.Stat(cache)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())

	source.err = down
	cached, err := loader.Load(t.Context())
	require.NoError(t, err)
	assert.Equal(t, fresh, cached)
	assert.Contains(t, log.String(), "settings.from_cache")
	assert.NotContains(t, log.String(), "pw@")

	// Every load writes the cache anew.
	source.err, source.text = nil, `{"agent_id":"another"}`
	_, err = loader.Load(t.Context())
	require.NoError(t, err)
	source.err = down
	cached, err = loader.Load(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "another", cached.AgentID)

	// Who does not wait any more gets no old settings.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = loader.Load(ctx)
	require.ErrorIs(t, err, context.Canceled)

	require.NoError(t, os.WriteFile(cache, []byte(`{"agent_id":`), 0o600))
	_, err = loader.Load(t.Context())
	require.ErrorAs(t, err, &both)
	require.NoError(t, loader.Forget())
	require.NoError(t, loader.Forget())
	_, err = loader.Load(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Settings that are there count, also when they cannot be kept; it is told in the log.
func TestCacheThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bosh")
	require.NoError(t, os.WriteFile(dir, nil, 0o600))
	var log strings.Builder
	loader := settings.NewLoader(settings.LoaderConfig{Source: &stub{text: composed}, Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s, err := loader.Load(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "vm-17", s.VM.Name)
	assert.Contains(t, log.String(), "settings.not_kept")
	assert.NotContains(t, log.String(), "pw@")
}

// Settings that are kept already are not written again.
func TestCacheIsWrittenWhenItChanges(t *testing.T) {
	dir := t.TempDir()
	source := &stub{text: composed}
	loader := settings.NewLoader(settings.LoaderConfig{Source: source, Dir: dir})
	cache := func() os.FileInfo {
		_, err := loader.Load(t.Context())
		require.NoError(t, err)
		info, err := os.Stat(filepath.Join(dir, "settings.json"))
		require.NoError(t, err)
		return info
	}
	first := cache()
	assert.True(t, os.SameFile(first, cache()))
	source.text = `{"agent_id":"another"}`
	assert.False(t, os.SameFile(first, cache()))
}

// TestSettingsThatCanBeReadOnce are wiped out once they are in the cache, from which later loads have them.
func TestSettingsThatCanBeReadOnce(t *testing.T) {
	value := base64.StdEncoding.EncodeToString([]byte(composed))
	multi, err := settings.NewMulti(settings.VsphereGuestInfo{Run: guestInfo(&value)})
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "bosh")
	require.NoError(t, os.WriteFile(dir, nil, 0o600))
	loader := settings.NewLoader(settings.LoaderConfig{Source: multi, Dir: dir})
	_, err = loader.Load(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, "---", value, "there is no place to keep them, so they stay where they are")
	require.NoError(t, os.Remove(dir))
	for range 2 {
		s, err := loader.Load(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "vm-17", s.VM.Name)
		assert.Equal(t, "---", value)
	}
}

func TestUpdates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bosh")
	newLoader := func() *settings.Loader {
		return settings.NewLoader(settings.LoaderConfig{Source: &stub{text: composed}, Dir: dir})
	}
	loader := newLoader()
	u, err := loader.Update()
	require.NoError(t, err)
	assert.Zero(t, u)

	change := settings.Update{TrustedCerts: "PEM", Mbus: settings.Mbus{URLs: []string{"nats://new"}},
		DiskAssociations: []settings.DiskAssociation{{Name: "db", CID: "disk-1"}}}
	restart, err := loader.Apply(change)
	require.NoError(t, err)
	assert.True(t, restart)
	data, err := os.ReadFile(filepath.Join(dir, "update_settings.json"))
	require.NoError(t, err)
	assert.JSONEq(t, `{"blobstores":null,"disk_associations":[{"name":"db","cid":"disk-1"}],"trusted_certs":"PEM",
		"mbus":{"cert":{"ca":"","certificate":"","private_key":""},"urls":["nats://new"]}}`, string(data))

	loader = newLoader() // the agent starts anew
	u, err = loader.Update()
	require.NoError(t, err)
	assert.Equal(t, change, u)
	s, err := loader.Load(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"nats://new"}, s.Effective(u).MbusURLs)

	for _, again := range []settings.Update{change, {TrustedCerts: "other"}} {
		restart, err = loader.Apply(again)
		require.NoError(t, err)
		assert.False(t, restart)
	}
	u, err = loader.Update()
	require.NoError(t, err)
	assert.Equal(t, settings.Update{TrustedCerts: "other", Mbus: change.Mbus}, u)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "update_settings.json"), []byte("{"), 0o600))
	_, err = loader.Update()
	require.ErrorContains(t, err, "update_settings.json")
	_, err = loader.Apply(change)
	require.Error(t, err, "what cannot be read is not overwritten")
}

func TestMultiRemembersWhoAnswered(t *testing.T) {
	_, err := settings.NewMulti()
	require.EqualError(t, err, "MultiSettingsSource requires to have at least one source")

	one, two := &stub{err: errors.New("one is down")}, &stub{err: errors.New("two is down")}
	multi, err := settings.NewMulti(one, two)
	require.NoError(t, err)
	_, err = multi.Settings(t.Context())
	require.ErrorIs(t, err, one.err)
	require.ErrorIs(t, err, two.err)

	two.err, two.text = nil, composed
	_, err = multi.Settings(t.Context())
	require.NoError(t, err)
	one.err, one.text, one.calls = nil, "ssh-rsa", 0
	_, err = multi.Settings(t.Context())
	require.NoError(t, err)
	assert.Zero(t, one.calls, "the second one answered first")
	key, err := multi.PublicSSHKey(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "ssh-rsa", key, "keys may come from another one")
	two.err = errors.New("two is down again")
	_, err = multi.Settings(t.Context())
	require.ErrorIs(t, err, two.err)
}
