package stager_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc"
	"github.com/deakit/deakit/internal/needs"
	"github.com/deakit/deakit/internal/stagetest"
)

// runcBackend is one that ends with the test.
func runcBackend(t testing.TB) container.Backend {
	needs.Root(t)
	needs.Tool(t, "runc", "runc")
	depot, err := os.MkdirTemp("", "stager-runc-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(depot)) })
	backend, err := runc.New(runc.Options{Depot: depot, StopGrace: time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, backend.Close(context.Background())) })
	return backend
}

// TestContainersOfBuildpacks: what they see is where it is outside, and not theirs to change; what is in /app is theirs.
func TestContainersOfBuildpacks(t *testing.T) {
	shared, err := os.MkdirTemp("", "shared-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(shared)) })
	require.NoError(t, os.Chmod(shared, 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(shared, "file"), []byte("shared"), 0o666))
	backend := runcBackend(t)
	s := newSite(t, func(s *site) {
		s.backend, s.parts.Backend = backend, backend
		s.cfg.BindMounts = []container.BindMount{{Src: shared}, {Src: shared, Dst: "/elsewhere"}}
	})
	s.buildpack("looks", stagetest.Scripts("exit 0", fmt.Sprintf(`
		echo "buildpack $(dirname "$(dirname "$0")")"
		echo "files $(cat %[1]s/file /elsewhere/file)"
		for f in %[1]s/new %[1]s/file /elsewhere/new "$0" "$(dirname "$0")/new"; do (echo x >>"$f") 2>/dev/null && echo "wrote $f"; done
		echo "app $(id -un) $(stat -c %%U:%%G /app/support_heroku_buildpacks)"
		touch /app/mine && echo "mine"
		exit 0`, shared), ""))
	s.stage(s.request("looks"))
	log := stagetest.ReadTgz(t, s.cloud.posted("/droplet").data)["./logs/staging_task.log"]
	assert.Contains(t, log, "buildpack "+filepath.Join(s.cfg.BaseDir, "admin_buildpacks", "looks")+"\n")
	assert.Contains(t, log, "files sharedshared\n")
	assert.NotContains(t, log, "wrote")
	assert.Contains(t, log, "app vcap vcap:vcap\nmine\n")
	content, err := os.ReadFile(filepath.Join(shared, "file"))
	require.NoError(t, err)
	assert.Equal(t, "shared", string(content))
}
