package runc

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOOMScore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "oom_score_adj")
	assert.Nil(t, oomScore(file))
	for _, kept := range []string{"0\n", "500\n"} {
		require.NoError(t, os.WriteFile(file, []byte(kept), 0o600))
		assert.Nil(t, oomScore(file), kept)
	}
	require.NoError(t, os.WriteFile(file, []byte("-1000\n"), 0o600))
	require.NotNil(t, oomScore(file))
	assert.Zero(t, *oomScore(file))
}
