package tlsfiles_test

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/certtest"
	"github.com/deakit/deakit/internal/tlsfiles"
)

func TestFilesThatAreMissing(t *testing.T) {
	dir := t.TempDir()
	cert, key := certtest.NewAuthority(t, "ca").Issue(dir, "node")
	gone := filepath.Join(dir, "gone")
	_, err := tlsfiles.Open(tlsfiles.Files{Key: gone + ".key", Cert: cert, CA: gone + ".ca"}, nil)
	assert.EqualError(t, err, "One or more files not found: "+gone+".key, "+gone+".ca")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = tlsfiles.Open(tlsfiles.Files{Key: key}, nil)
	assert.ErrorContains(t, err, "must both be named")
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	authority := certtest.NewAuthority(t, "ca")
	cert, key := authority.Issue(dir, "node")
	otherCert, _ := authority.Issue(dir, "other")
	for text, files := range map[string]tlsfiles.Files{
		otherCert:                                 {Key: key, Cert: otherCert},
		"CA file " + key + " holds no":            {Key: key, Cert: cert, CA: key},
		"CA file: read " + dir:                    {Key: key, Cert: cert, CA: dir},
		"certificate " + key + " with key " + key: {Key: key, Cert: key},
	} {
		_, err := tlsfiles.Open(files, nil)
		assert.ErrorContains(t, err, text)
	}
}

func TestRenewal(t *testing.T) {
	var log bytes.Buffer
	dir := t.TempDir()
	authority := certtest.NewAuthority(t, "ca")
	cert, key := authority.Issue(dir, "node")
	source, err := tlsfiles.Open(tlsfiles.Files{Key: key, Cert: cert, CA: authority.File}, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	first := source.Current()
	assert.Same(t, first, source.Current())
	require.NotNil(t, first.CA)

	// The key comes first, and does not fit the certificate yet.
	newCert, newKey := authority.Issue(dir, "renewed")
	replace(t, newKey, key)
	for range 3 {
		assert.Same(t, first, source.Current())
	}
	assert.Equal(t, 1, bytes.Count(log.Bytes(), []byte("tls.files.unusable")))
	replace(t, newCert, cert)
	second := source.Current()
	assert.NotEqual(t, first.Certificate.Certificate, second.Certificate.Certificate)
	assert.Same(t, second, source.Current())

	require.NoError(t, os.Remove(cert))
	assert.Same(t, second, source.Current(), "what is gone is missed only when it is read for the first time")
}

// A renewal that cannot be told by time and size is one all the same.
func TestRenewalOfOneTimeAndSize(t *testing.T) {
	dir, when := t.TempDir(), time.Unix(1, 0)
	authority := certtest.NewAuthority(t, "ca")
	cert, key := authority.Issue(dir, "node")
	source, err := tlsfiles.Open(tlsfiles.Files{Key: key, Cert: cert, CA: authority.File}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	// Text behind a certificate or key is no part of it.
	alike := func(name string) {
		pem, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, append(pem, bytes.Repeat([]byte("\n"), 4096-len(pem))...), 0o600))
		require.NoError(t, os.Chtimes(name, when, when))
	}
	alike(cert)
	alike(key)
	first := source.Current()
	newCert, newKey := authority.Issue(dir, "renewed")
	alike(newCert)
	alike(newKey)
	require.NoError(t, os.Rename(newKey, key))
	require.NoError(t, os.Rename(newCert, cert))
	assert.NotEqual(t, first.Certificate.Certificate, source.Current().Certificate.Certificate)
}

// replace moves a file over another, and makes sure that it can be told from it by its time.
func replace(t *testing.T, from, to string) {
	t.Helper()
	old, err := os.Stat(to)
	require.NoError(t, err)
	require.NoError(t, os.Chtimes(from, time.Time{}, old.ModTime().Add(time.Second)))
	require.NoError(t, os.Rename(from, to))
}
