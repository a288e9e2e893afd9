package staging_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging"
)

// TestEqualDroplets: with a fixed time the same content gives the same bytes, whatever the clock and the log say.
func TestEqualDroplets(t *testing.T) {
	bp := classic(t, "bp", stagetest.Scripts("echo Same", `date +%N; echo made >"$1/made"; mkdir "$1/dir2"; ln "$1/made" "$1/dir2/linked"; touch "$2/cached"`, ""))
	at := time.Date(1980, 1, 1, 0, 0, 1, 0, time.UTC)
	digests := map[string]bool{}
	for range 3 {
		s := newStage(t, app, bp)
		s.task.ModTime = at
		digests[s.ok(t).Droplet.SHA256] = true
		members := stagetest.ReadTgz(t, s.droplet.Bytes())
		assert.Equal(t, "made\n", members["./app/made"]+members["./app/dir2/linked"], "one is a link to the other")
		assert.Empty(t, members["./logs/staging_task.log"])
		assert.Contains(t, members, "./logs/staging_task.log")
		for _, header := range headers(t, s.droplet.Bytes()) {
			assert.True(t, header.ModTime.Equal(at), header.Name)
			assert.Zero(t, header.Uid, header.Name)
		}
		for _, header := range headers(t, s.cache.Bytes()) {
			assert.False(t, header.ModTime.Equal(at), "caches need their times")
		}
	}
	assert.Len(t, digests, 1)

	// Without it, times are those of the files.
	source := app.Dir(t)
	past := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	require.NoError(t, os.Chtimes(filepath.Join(source, "dir/file"), past, past))
	s := newStage(t, nil, bp)
	s.task.App = source
	s.ok(t)
	for _, header := range headers(t, s.droplet.Bytes()) {
		if header.Name == "./app/dir/file" {
			assert.True(t, header.ModTime.Equal(past))
		}
	}
}

// TestCacheIsOptional: a buildpack that spoils its cache fails its staging, or only its cache.
func TestCacheIsOptional(t *testing.T) {
	bp := classic(t, "bp", stagetest.Scripts("exit 0", `cd "$2"; for i in $(seq 300); do mkdir d && cd d; done`, ""))
	newStage(t, app, bp).fails(t, staging.DropletRefused)

	s := newStage(t, app, bp)
	s.task.CacheOptional = true
	result := s.ok(t)
	assert.NotEmpty(t, result.Droplet.SHA1)
	assert.Empty(t, result.Cache.SHA1)
	assert.Contains(t, s.log.String(), "The cache cannot be kept: ")
}

// TestStepTimeout: a package that comes too slowly ends in an error that names the step.
func TestStepTimeout(t *testing.T) {
	s := newStage(t, stagetest.Files{"large": strings.Repeat("x", 50<<20)}, classic(t, "bp", hello))
	s.task.StepTimeout = time.Microsecond
	failed := s.fails(t, staging.TimedOut)
	assert.Equal(t, staging.StepPrepare, failed.Phase)
	assert.ErrorContains(t, failed, "waiting for prepare when the 1µs had passed that this step may take")
}
