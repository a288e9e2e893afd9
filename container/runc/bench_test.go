package runc_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/runc"
)

// BenchmarkStart makes a container and starts /bin/true in it. The yardstick is `runc run` of /bin/true with the bundle of
// such a container: its config.json, and its root file system. Both are measured in turn, as times here move from one
// moment to the next, and what is told is the median of each and their ratio.
//
// Without root it is measured by BenchmarkStartWithoutRoot, in a user namespace, where both have the host's network.
func BenchmarkStart(b *testing.B) {
	for name, opts := range map[string]runc.Options{
		"loop disk":                    {Disk: runc.DiskLoop},
		"directory disk":               {Disk: runc.DiskDirectory},
		"directory disk, host network": {Disk: runc.DiskDirectory, Network: runc.NetworkOptions{Host: true}},
	} {
		if withoutRoot() && (opts.Disk == runc.DiskLoop || !opts.Network.Host) {
			continue
		}
		b.Run(name, func(b *testing.B) {
			backend := open(b, opts)
			yardstick := plainRunc(b, backend)
			var plain, ours []time.Duration
			for b.Loop() {
				plain = append(plain, yardstick())
				ours = append(ours, createToRunning(b, backend))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(plain).Seconds()*1000, "ms/runc-run")
			b.ReportMetric(median(ours).Seconds()*1000, "ms/create-to-running")
			b.ReportMetric(float64(median(ours))/float64(median(plain)), "ratio")
		})
	}
}

// BenchmarkStartWithoutRoot runs BenchmarkStart as an ordinary user, and tells what it told.
func BenchmarkStartWithoutRoot(b *testing.B) {
	u := newOrdinaryUser(b, "")
	out, err := u.command("yes", "^$", "-test.bench=^BenchmarkStart$", "-test.benchtime="+flag.Lookup("test.benchtime").Value.String()).CombinedOutput()
	require.NoError(b, err, "%s", out)
	figures := regexp.MustCompile(`([0-9.]+) (ms/\S+|ratio)`).FindAllStringSubmatch(string(out), -1)
	require.Len(b, figures, 3, "%s", out)
	b.ReportMetric(0, "ns/op")
	for _, f := range figures {
		value, err := strconv.ParseFloat(f[1], 64)
		require.NoError(b, err)
		b.ReportMetric(value, f[2])
	}
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

func createToRunning(b *testing.B, backend *runc.Backend) time.Duration {
	ctx := context.Background()
	began := time.Now()
	c, err := backend.Create(ctx, container.Spec{})
	require.NoError(b, err)
	p, err := c.Run(ctx, container.ProcessSpec{Path: "/bin/true"}, container.IO{})
	require.NoError(b, err)
	took := time.Since(began)
	status, err := p.Wait(ctx)
	require.NoError(b, err)
	require.Zero(b, status)
	require.NoError(b, c.Destroy(ctx))
	return took
}

// plainRunc returns what runs the yardstick once.
func plainRunc(b *testing.B, backend *runc.Backend) func() time.Duration {
	info, err := create(b, backend, container.Spec{}).Info(context.Background())
	require.NoError(b, err)
	bundle := b.TempDir()
	config, err := os.ReadFile(filepath.Join(info.Path, "config.json"))
	require.NoError(b, err)
	group := "/deakit-bench-" + filepath.Base(info.Path)
	if withoutRoot() {
		group = "" // there is none to be had
	}
	config = replaceJSON(b, config, info.HostRoot, group)
	require.NoError(b, os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o600))
	n := 0
	return func() time.Duration {
		n++
		began := time.Now()
		cmd := exec.Command("runc", "--root", filepath.Join(bundle, "state"), "--rootless", strconv.FormatBool(withoutRoot()), "run", "--bundle", bundle, "bench"+strconv.Itoa(n))
		out, err := cmd.CombinedOutput()
		require.NoError(b, err, "%s", out)
		return time.Since(began)
	}
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
