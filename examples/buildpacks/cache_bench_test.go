package buildpacks_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

// BenchmarkStageGoApp stages a Go app as it is staged for the first time, and again with the cache that the first staging
// has left: Go compiles its standard library only once then.
func BenchmarkStageGoApp(b *testing.B) {
	needs.Tool(b, "go", "golang-go")
	backend := stagetest.Backend(b)
	app, err := filepath.Abs("../apps/go")
	require.NoError(b, err)
	bp, err := buildpack.NewClassic("", "go")
	require.NoError(b, err)
	stage := func(b *testing.B, cache string, newCache io.Writer) {
		task := staging.Task{
			App: app, Cache: cache, Buildpacks: []buildpack.Buildpack{bp}, Droplet: io.Discard, NewCache: newCache,
			Environment: staging.Environment{User: []string{"PATH=" + os.Getenv("PATH")}},
		}
		c, err := backend.Create(b.Context(), container.Spec{BindMounts: task.Mounts()})
		require.NoError(b, err)
		_, err = staging.Stage(b.Context(), task, staging.Parts{Container: c})
		require.NoError(b, err)
		require.NoError(b, c.Destroy(b.Context()))
	}
	var kept bytes.Buffer
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			kept.Reset()
			stage(b, "", &kept)
		}
	})
	b.Run("again", func(b *testing.B) {
		if kept.Len() == 0 { // it runs alone
			stage(b, "", &kept)
		}
		cache := stagetest.Save(b, kept.Bytes())
		b.ResetTimer()
		for b.Loop() {
			stage(b, cache, io.Discard)
		}
	})
}
