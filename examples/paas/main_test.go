package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/staging/buildpack"
)

func TestExitCodes(t *testing.T) {
	quiet, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer quiet.Close()
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = quiet, quiet
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	nobody := "--api=http://127.0.0.1:1"
	for _, tc := range []struct {
		want int
		args []string
	}{
		{exitOK, []string{"--help"}},
		{exitOK, []string{"push", "--help"}},
		{exitUsage, []string{}},
		{exitUsage, []string{"no-such-command"}},
		{exitUsage, []string{"apps", "--no-such-flag"}},
		{exitUsage, []string{"scale", "app", "many"}},
		{exitUsage, []string{"demo", "--backend", "magic"}},
		{exitUsage, []string{"demo", "--deas", "1"}},
		{exitUsage, []string{"serve", "--deas", "-1"}},
		{exitUsage, []string{"serve", "--memory-mb", "0"}},
		{exitUsage, []string{"doctor", "--backend", "magic"}},
		{exitOK, []string{"doctor", "--backend", "process"}},
		{exitUsage, []string{"push", "/no/such/directory"}},
		{exitPlatform, []string{"apps", nobody}},
		{exitPlatform, []string{"push", ".", nobody}},
		{exitFailed, []string{"demo", "--app", "/no/such/directory"}},
		{exitFailed, []string{"serve", "--listen", "0.0.0.0:0", "--router", "127.0.0.1:0", "--nats", "127.0.0.1:0"}},
	} {
		assert.Equal(t, tc.want, run(tc.args), "%q", tc.args)
	}
}

func TestScreenShowsNoControlCharacters(t *testing.T) {
	assert.Equal(t, "a\tb\uFFFD[31mred\uFFFD", printable("a\tb\x1b[31mred\x9b"))
}

func TestShortURL(t *testing.T) {
	assert.Equal(t, "http://h/p?hmac=…&path=%2F", shortURL("http://h/p?hmac=0123&path=%2F"))
	assert.Equal(t, "http://h/p", shortURL("http://h/p"))
}

func TestBuildpackKeyFollowsContent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "My Pack")
	write := func(content string) string {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "bin/detect"), []byte(content), 0o755))
		source, err := buildpack.ParseSource(dir)
		require.NoError(t, err)
		archive, key, err := openBuildpack(source)
		require.NoError(t, err)
		require.NoError(t, archive.Close())
		return key
	}
	first := write("one")
	assert.Equal(t, first, write("one"))
	assert.NotEqual(t, first, write("two"))
	assert.Regexp(t, `^my-pack_[0-9a-f]{40}$`, first)
	_, _, err := openBuildpack(buildpack.Source{Kind: buildpack.ArchiveFile, Location: "/no/such/buildpack"})
	assert.Error(t, err)
}
