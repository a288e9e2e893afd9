package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet/dea/config"
	"github.com/deakit/deakit/examples/internal/programtest"
)

func TestCatalogueOfRuntimes(t *testing.T) {
	today, err := catalogue(config.Runtimes{})
	require.NoError(t, err)
	assert.Contains(t, today.Names(true), "ruby19")

	file := filepath.Join(t.TempDir(), "runtimes.yml")
	for content, want := range map[string]string{
		"ruby19: {executable: ruby}":             "",
		"- ruby19":                               "it is no map of names to runtimes",
		"ruby19: [":                              "read catalogue of runtimes",
		strings.Repeat("# much\n", maxCatalogue): "it is larger than 1 MiB",
	} {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		c, err := catalogue(config.Runtimes{Catalogue: file})
		if want == "" {
			require.NoError(t, err)
			assert.Equal(t, []string{"ruby19"}, c.Names(true))
			continue
		}
		require.ErrorContains(t, err, "deakit.runtimes.catalogue: "+file)
		require.ErrorContains(t, err, want)
	}
}

// A catalogue that cannot be read is told by --check, and keeps a DEA from starting.
func TestCatalogueThatIsMissing(t *testing.T) {
	s := newSite(t)
	s.cfg["deakit"].(object)["runtimes"] = object{"catalogue": "/no/such/runtimes.yml"}
	file := s.write()
	check := programtest.Start(t, "--check", file)
	assert.Equal(t, exitOK, check.End())
	assert.Contains(t, check.Text(), "deakit.runtimes.catalogue: open /no/such/runtimes.yml")
	node := programtest.Start(t, "--backend", s.backend, file)
	assert.Equal(t, exitFailed, node.End())
	assert.Contains(t, node.Text(), "deakit.runtimes.catalogue: open /no/such/runtimes.yml")
}
