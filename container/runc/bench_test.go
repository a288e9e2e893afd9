package runc_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc"
)

// BenchmarkStart makes a container and starts /bin/true in it. The yardstick is `runc run` of /bin/true with the bundle of
// such a container: its config.json, and its root file system.
func BenchmarkStart(b *testing.B) {
	for name, opts := range map[string]runc.Options{
		"loop disk":                    {Disk: runc.DiskLoop},
		"directory disk":               {Disk: runc.DiskDirectory},
		"directory disk, host network": {Disk: runc.DiskDirectory, Network: runc.NetworkOptions{Host: true}},
	} {
		b.Run(name, func(b *testing.B) {
			backend := open(b, opts)
			b.Run("yardstick", func(b *testing.B) { runBundle(b, backend) })
			b.Run("create to running", func(b *testing.B) { createToRunning(b, backend) })
		})
	}
}

func createToRunning(b *testing.B, backend *runc.Backend) {
	ctx := b.Context()
	b.StopTimer()
	for range b.N {
		b.StartTimer()
		c, err := backend.Create(ctx, container.Spec{})
		require.NoError(b, err)
		p, err := c.Run(ctx, container.ProcessSpec{Path: "/bin/true"}, container.IO{})
		require.NoError(b, err)
		b.StopTimer()
		status, err := p.Wait(ctx)
		require.NoError(b, err)
		require.Zero(b, status)
		require.NoError(b, c.Destroy(ctx))
	}
}

func runBundle(b *testing.B, backend *runc.Backend) {
	c := create(b, backend, container.Spec{})
	info, err := c.Info(b.Context())
	require.NoError(b, err)
	bundle := b.TempDir()
	config, err := os.ReadFile(filepath.Join(info.Path, "config.json"))
	require.NoError(b, err)
	config = replaceJSON(b, config, info.HostRoot, "/deakit-bench")
	require.NoError(b, os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o600))
	for n := range b.N {
		out, err := exec.Command("runc", "--root", filepath.Join(bundle, "state"), "run", "--bundle", bundle, "bench"+strconv.Itoa(n)).CombinedOutput()
		require.NoError(b, err, "%s", out)
	}
	require.NoError(b, c.Destroy(b.Context()))
}

// BenchmarkRun starts /bin/true in a container that is there, and awaits its end. The yardstick is runc exec.
func BenchmarkRun(b *testing.B) {
	backend := open(b, runc.Options{Disk: runc.DiskDirectory})
	c := create(b, backend, container.Spec{Handle: "bench"})
	info, err := c.Info(b.Context())
	require.NoError(b, err)
	b.Run("yardstick", func(b *testing.B) {
		state := filepath.Join(filepath.Dir(info.Path), ".runc")
		for range b.N {
			out, err := exec.Command("runc", "--root", state, "exec", "bench", "/bin/true").CombinedOutput()
			require.NoError(b, err, "%s", out)
		}
	})
	b.Run("run", func(b *testing.B) {
		for range b.N {
			p, err := c.Run(b.Context(), container.ProcessSpec{Path: "/bin/true"}, container.IO{})
			require.NoError(b, err)
			_, err = p.Wait(b.Context())
			require.NoError(b, err)
		}
	})
}

// replaceJSON returns the configuration of a container with another program, root and control group.
func replaceJSON(b *testing.B, config []byte, root, group string) []byte {
	var spec specs.Spec
	require.NoError(b, json.Unmarshal(config, &spec))
	spec.Process.Args = []string{"/bin/true"}
	spec.Root.Path = root
	spec.Linux.CgroupsPath = group
	out, err := json.Marshal(spec)
	require.NoError(b, err)
	return out
}
