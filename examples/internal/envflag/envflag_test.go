package envflag_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/examples/internal/envflag"
)

func TestParse(t *testing.T) {
	t.Setenv("ENVFLAG_TEST", "passed on")
	env, err := envflag.Parse([]string{"A=b=c,d", "B=", "ENVFLAG_TEST", "ENVFLAG_ABSENT"})
	require.NoError(t, err)
	assert.Equal(t, []string{"A=b=c,d", "B=", "ENVFLAG_TEST=passed on"}, env)
	for _, entry := range []string{"", "=sesame", "A B=sesame", "1"} {
		_, err := envflag.Parse([]string{"A=b", entry})
		require.ErrorContains(t, err, "write NAME=value, or NAME", entry)
		assert.NotContains(t, err.Error(), "sesame")
	}
}
