package certs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/agent/certs"
)

const dir = "usr/local/share/ca-certificates"

func pemOf(text string) string {
	return "-----BEGIN CERTIFICATE-----\n" + text + "\n-----END CERTIFICATE-----\n"
}

func files(t *testing.T, root string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, dir))
	require.NoError(t, err)
	all := map[string]string{}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(root, dir, entry.Name()))
		require.NoError(t, err)
		all[entry.Name()] = string(data)
	}
	return all
}

func TestSet(t *testing.T) {
	root := t.TempDir()
	updates := 0
	s, err := certs.New(certs.Config{Root: root, Update: func(context.Context) error { updates++; return nil }})
	require.NoError(t, err)
	require.NoError(t, s.Set(t.Context(), "# first\n"+pemOf("QUFB")+pemOf("QkJC")+"# last\n"))
	require.NoError(t, os.WriteFile(filepath.Join(root, dir, "mine.crt"), nil, 0o644))
	assert.Equal(t, map[string]string{"bosh-trusted-cert-1.crt": pemOf("QUFB"), "bosh-trusted-cert-2.crt": pemOf("QkJC"), "mine.crt": ""}, files(t, root))
	require.NoError(t, s.Set(t.Context(), pemOf("Q0ND")))
	assert.Equal(t, map[string]string{"bosh-trusted-cert-1.crt": pemOf("Q0ND"), "mine.crt": ""}, files(t, root))
	for _, bad := range []string{"x", pemOf("QUFB") + "-----BEGIN CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----\nQUFB\n-----END PRIVATE KEY-----\n", strings.Repeat(pemOf("QUFB"), 1001), strings.Repeat("\n", 5<<20)} {
		require.ErrorIs(t, s.Set(t.Context(), bad), certs.ErrPEM)
		require.ErrorIs(t, certs.Check(bad), certs.ErrPEM)
	}
	assert.Len(t, files(t, root), 2, "nothing has changed")
	assert.Equal(t, 2, updates)
	require.NoError(t, s.Set(t.Context(), " \n"))
	assert.Equal(t, map[string]string{"mine.crt": ""}, files(t, root))
}

// Links below the root lead nowhere else.
func TestSetStaysBelowRoot(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "usr/local"), 0o755))
	require.NoError(t, os.Symlink(outside, filepath.Join(root, "usr/local/share")))
	s, err := certs.New(certs.Config{Root: root})
	require.NoError(t, err)
	require.Error(t, s.Set(t.Context(), pemOf("QUFB")))
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

func TestUpdateIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries, broken := 0, errors.New("broken")
		s, err := certs.New(certs.Config{Root: t.TempDir(), Update: func(context.Context) error {
			if tries++; tries < 3 {
				return broken
			}
			return nil
		}})
		require.NoError(t, err)
		require.NoError(t, s.Set(t.Context(), ""))
		assert.Equal(t, 3, tries)
		tries = -10
		require.ErrorIs(t, s.Set(t.Context(), ""), broken)
		assert.Equal(t, -7, tries)
		tries = -10
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, s.Set(ctx, ""), context.DeadlineExceeded)
		assert.Equal(t, -9, tries)
	})
	_, err := certs.New(certs.Config{})
	require.Error(t, err)
}
