package staging_test

import (
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/internal/stagetest"
	"github.com/deakit/deakit/staging"
	"github.com/deakit/deakit/staging/buildpack"
)

// BenchmarkStage is what staging costs when the buildpack does nothing: container, three scripts, droplet, cache.
func BenchmarkStage(b *testing.B) {
	backend := stagetest.Backend(b)
	app := stagetest.Save(b, stagetest.Files{"index.html": "hello"}.Zip(b))
	bp := classic(b, "bp", stagetest.Scripts("echo Bench", "exit 0", "echo '{}'"))
	ctx := context.Background()
	for b.Loop() {
		task := staging.Task{App: app, Buildpacks: []buildpack.Buildpack{bp}, Droplet: io.Discard, NewCache: io.Discard}
		c, err := backend.Create(ctx, container.Spec{BindMounts: task.Mounts()})
		require.NoError(b, err)
		_, err = staging.Stage(ctx, task, staging.Parts{Container: c})
		require.NoError(b, err)
		require.NoError(b, c.Destroy(ctx))
	}
}

// BenchmarkScripts is the yardstick: the three scripts alone, run by the standard library.
func BenchmarkScripts(b *testing.B) {
	dir := stagetest.Scripts("echo Bench", "exit 0", "echo '{}'").Dir(b)
	for b.Loop() {
		for _, name := range []string{"detect", "compile", "release"} {
			require.NoError(b, exec.Command(filepath.Join(dir, "bin", name)).Run())
		}
	}
}
