package config_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet/dea/config"
)

const secret = "0123456789abcdef0123456789abcdef"

// writeKey writes both halves of a new Ed25519 key in PEM.
func writeKey(t *testing.T, privateFile, publicFile string) ed25519.PrivateKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(privateFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	der, err = x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(publicFile, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
	return private
}

func TestFileURLs(t *testing.T) {
	c, problems, warnings := load(t, "deakit: {file_urls: {host_label: dea-3, keys: ["+secret+", x"+secret+"], lifetime: 60}}\n")
	require.Empty(t, problems)
	assert.Empty(t, warnings)
	keys, err := c.Deakit.FileURLs.ReadKeys()
	require.NoError(t, err)
	assert.Equal(t, config.URLKeys{Texts: []string{secret, "x" + secret}}, keys)
	assert.Equal(t, time.Minute, c.Deakit.FileURLs.Lifetime)
	assert.NotContains(t, c.String(), secret)
	keys, err = (*config.FileURLs)(nil).ReadKeys()
	require.NoError(t, err)
	assert.Equal(t, config.URLKeys{}, keys)

	for text, want := range map[string]string{
		"host_label: dea-3": "keys: is required, or private_key_file in its place, when host_label or public_key_files is given: the key is drawn anew otherwise",
		"keys: [" + secret + "]": "host_label: is required when keys or private_key_file is given: URLs go by their host name, " +
			"which is drawn anew otherwise",
		"host_label: a.b, keys: [" + secret + "]":             "host_label: must be one label of a host name: lower-case letters, digits and '-'",
		"host_label: a, keys: [short]":                        "keys[0]: must have at least 32 characters; openssl rand -hex 16 makes such a text",
		"host_label: a, lifetime: -1, keys: [" + secret + "]": "lifetime: must be at least 0 seconds",
	} {
		_, problems, _ := load(t, "deakit: {file_urls: {"+text+"}}\n")
		assert.Equal(t, []string{"line 1: deakit.file_urls." + want}, problems)
	}
}

// Key files are read when the configuration is checked: a mistake is told with its key.
func TestFileURLsWithKeyFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	private := writeKey(t, path("new.key"), path("new.pub"))
	before := writeKey(t, path("old.key"), path("old.pub"))
	old := "host_label: a, private_key_file: " + path("new.key") + ", public_key_files: [" + path("old.pub") + "]"
	c, problems, warnings := load(t, "deakit: {file_urls: {"+old+", keys: ["+secret+"]}}\n")
	require.Empty(t, problems)
	assert.Empty(t, warnings)
	keys, err := c.Deakit.FileURLs.ReadKeys()
	require.NoError(t, err)
	assert.Equal(t, config.URLKeys{
		Texts: []string{secret}, Private: private, Public: []ed25519.PublicKey{before.Public().(ed25519.PublicKey)},
	}, keys)
	_, problems, _ = load(t, "deakit: {file_urls: {"+old+"}}\n")
	assert.Empty(t, problems, "no secret text is needed")

	require.NoError(t, os.WriteFile(path("large"), []byte(strings.Repeat("x", 1<<20)), 0o600))
	for text, want := range map[string]string{
		"host_label: a, private_key_file: " + path("none"):    "private_key_file: open " + path("none") + ": no such file or directory",
		"host_label: a, private_key_file: none":               "private_key_file: open " + workingDirectory(t) + "/none: no such file or directory",
		"host_label: a, private_key_file: " + path("new.pub"): `private_key_file: ` + path("new.pub") + `: private key: no "PRIVATE KEY" in PEM; make one with openssl genpkey -algorithm ed25519`,
		"host_label: a, private_key_file: " + path("large"):   "private_key_file: " + path("large") + ": is too large for a key",
		"host_label: a, private_key_file: " + path("new.key") + ", public_key_files: [" + path("old.pub") + ", " + path("old.key") + "]": "public_key_files[1]: " +
			path("old.key") + `: public keys: there is a "PRIVATE KEY" among them; take what openssl pkey -pubout writes`,
		"private_key_file: " + path("new.key"): "host_label: is required when keys or private_key_file is given: URLs go by their host name, " +
			"which is drawn anew otherwise",
		"public_key_files: [" + path("old.pub") + "]": "keys: is required, or private_key_file in its place, when host_label or public_key_files is given: the key is drawn anew otherwise",
	} {
		_, problems, _ := load(t, "deakit: {file_urls: {"+text+"}}\n")
		assert.Equal(t, []string{"line 1: deakit.file_urls." + want}, problems)
	}
	require.NoError(t, os.Remove(path("new.key")))
	_, err = c.Deakit.FileURLs.ReadKeys()
	assert.ErrorContains(t, err, "deakit.file_urls.private_key_file: open ")
	assert.NotContains(t, err.Error(), secret)
}

// A directory server in a process of its own needs no key: it asks the DEA.
func TestFileServerCache(t *testing.T) {
	const ports = "directory_server: {v2_port: 1, file_api_port: 2}\n"
	f, _, err := config.ParseFileServer([]byte(ports + "deakit: {directory_cache: 0.5, file_urls: {lifetime: 60, private_key_file: /no/such}}"))
	require.NoError(t, err)
	assert.Equal(t, 500*time.Millisecond, f.Deakit.DirectoryCache)
	assert.Equal(t, time.Minute, f.Deakit.FileURLs.Lifetime)
	for _, text := range []string{"1.5", "-1"} {
		_, _, err = config.ParseFileServer([]byte(ports + "deakit: {directory_cache: " + text + "}"))
		assert.ErrorContains(t, err, "deakit.directory_cache: must be a number of seconds from 0 to 1")
		_, problems, _ := load(t, "deakit: {directory_cache: "+text+"}\n")
		assert.Len(t, problems, 1)
	}
}

func workingDirectory(t *testing.T) string {
	dir, err := os.Getwd()
	require.NoError(t, err)
	return dir
}
