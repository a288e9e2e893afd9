package runc_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container/runc"
)

func finding(t testing.TB, list []runc.Finding, what string) runc.Finding {
	t.Helper()
	for _, f := range list {
		if f.What == what {
			return f
		}
	}
	t.Fatalf("nothing about %q in %v", what, list)
	return runc.Finding{}
}

// TestDoctor finds that all is well on a machine where containers work, and says why not where something is missing.
func TestDoctor(t *testing.T) {
	requirements(t)
	list := runc.Doctor(t.Context(), runc.Options{Depot: filepath.Join(t.TempDir(), "depot")})
	for _, f := range list {
		assert.True(t, f.OK || !f.Required, f)
	}
	assert.True(t, finding(t, list, "a container, for trial").OK)
	assert.Contains(t, finding(t, list, "control groups").Detail, "layout ")

	list = runc.Doctor(t.Context(), runc.Options{Runtime: "/does/not/exist"})
	f := finding(t, list, "runc")
	assert.False(t, f.OK)
	assert.Contains(t, f.String(), "missing runc: ")
	assert.Contains(t, f.Remedy, "apt-get install runc")

	other := filepath.Join(t.TempDir(), "crun")
	require.NoError(t, os.WriteFile(other, []byte("#!/bin/sh\necho crun version 1.8.1\n"), 0o755))
	assert.Contains(t, finding(t, runc.Doctor(t.Context(), runc.Options{Runtime: other}), "runc").Remedy, "not supported")
}
