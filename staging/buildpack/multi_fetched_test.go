package buildpack_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging/buildpack"
)

// TestMultiOfArchives has members whose files come only when they are prepared, and are of either kind.
func TestMultiOfArchives(t *testing.T) {
	fetched := func(bodies map[string]string) buildpack.Buildpack {
		source, err := buildpack.ParseSource(stagetest.Save(t, programs(bodies).Zip(t)))
		require.NoError(t, err)
		bp, err := source.Open(t.TempDir(), buildpack.FetchOptions{})
		require.NoError(t, err)
		return bp
	}
	bp, err := buildpack.Compose(
		fetched(map[string]string{"supply": "echo supplies", "finalize": "false"}),
		fetched(map[string]string{"supply": "echo supplies too", "compile": "false"}),
		fetched(map[string]string{"compile": "echo compiles"}),
	)
	require.NoError(t, err)
	_, out, err := compile(t, bp)
	require.NoError(t, err)
	assert.Contains(t, out, "supplies\nsupplies too\n")
	assert.Contains(t, out, "compiles\n")
}
