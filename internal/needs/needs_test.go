package needs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/needs"
)

// A recorder is a test whose end is noted instead of happening.
type recorder struct {
	testing.TB
	outcome string
}

type ended struct{}

func (r *recorder) Helper() {}

func (r *recorder) Skip(args ...any) {
	r.outcome = "skip: " + fmt.Sprint(args...)
	panic(ended{})
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.outcome = "fail: " + fmt.Sprintf(format, args...)
	panic(ended{})
}

func outcome(f func(testing.TB)) string {
	r := &recorder{outcome: "went on"}
	func() {
		defer func() {
			if fault := recover(); fault != nil && fault != any(ended{}) {
				panic(fault)
			}
		}()
		f(r)
	}()
	return r.outcome
}

func TestTool(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	program := filepath.Join(dir, "there")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700))

	t.Setenv(needs.Variable, "all")
	var path string
	assert.Equal(t, "went on", outcome(func(tb testing.TB) { path = needs.Tool(tb, "there", "there-pkg") }))
	assert.Equal(t, program, path)
	missing := func(tb testing.TB) { needs.Tool(tb, "missing", "missing-pkg") }
	assert.Equal(t, "fail: no missing on this machine: apt-get install missing-pkg, and DEAKIT_REQUIRE=all forbids to skip", outcome(missing))
	t.Setenv(needs.Variable, "")
	assert.Equal(t, "skip: no missing on this machine: apt-get install missing-pkg", outcome(missing))
}

func TestRoot(t *testing.T) {
	t.Setenv(needs.Variable, "")
	want := "skip: needs root"
	if id, err := exec.Command("id", "-u").Output(); err == nil && string(id) == "0\n" {
		want = "went on"
	}
	assert.Equal(t, want, outcome(needs.Root))
}
