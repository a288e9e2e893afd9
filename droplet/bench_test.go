package droplet_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/droplet"
)

// sources is a tree of some thousand text files: the standard library, or what DEAKIT_BENCH_TREE names.
func sources(b *testing.B) string {
	b.Helper()
	dir := os.Getenv("DEAKIT_BENCH_TREE")
	if dir == "" {
		out, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			b.Skip("no tree of files: ", err)
		}
		dir = filepath.Join(string(bytes.TrimSpace(out)), "src")
	}
	return dir
}

func haveProgram(b *testing.B, name string) {
	b.Helper()
	if _, err := exec.LookPath(name); err != nil {
		b.Skip(name, " is not installed")
	}
}

// plainSize makes MB/s mean uncompressed bytes in all benchmarks.
func plainSize(b *testing.B, data []byte) int64 {
	b.Helper()
	r, err := droplet.NewReader(bytes.NewReader(data), droplet.Limits{})
	require.NoError(b, err)
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	require.NoError(b, err)
	return n
}

func BenchmarkPack(b *testing.B) {
	root := openRoot(b, sources(b))
	var out bytes.Buffer
	_, err := droplet.Pack(b.Context(), &out, root, ".", droplet.PackOptions{})
	require.NoError(b, err)
	size := plainSize(b, out.Bytes())

	b.Run("deakit", func(b *testing.B) {
		b.SetBytes(size)
		var digest droplet.Digest
		for b.Loop() {
			digest, err = droplet.Pack(b.Context(), io.Discard, root, ".", droplet.PackOptions{})
			require.NoError(b, err)
		}
		b.ReportMetric(float64(digest.Size), "archive-bytes")
	})
	for name, filter := range map[string]string{"tar+gzip": "gzip", "tar+pigz": "pigz"} {
		b.Run(name, func(b *testing.B) {
			haveProgram(b, "tar")
			haveProgram(b, filter)
			b.SetBytes(size)
			var count counter
			for b.Loop() {
				count = 0
				cmd := exec.CommandContext(b.Context(), "tar", "-C", root.Name(), "--use-compress-program="+filter, "-cf", "-", ".")
				cmd.Stdout = &count
				require.NoError(b, cmd.Run())
			}
			b.ReportMetric(float64(count), "archive-bytes")
		})
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func BenchmarkUnpack(b *testing.B) {
	root := openRoot(b, sources(b))
	name := filepath.Join(b.TempDir(), "droplet.tgz")
	f, err := os.Create(name)
	require.NoError(b, err)
	defer f.Close()
	_, err = droplet.Pack(b.Context(), f, root, ".", droplet.PackOptions{})
	require.NoError(b, err)
	data, err := os.ReadFile(name)
	require.NoError(b, err)
	size := plainSize(b, data)

	run := func(unpack func(ctx context.Context, dir string) error) func(*testing.B) {
		return func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				dir := b.TempDir()
				require.NoError(b, unpack(b.Context(), dir))
				b.StopTimer()
				require.NoError(b, os.RemoveAll(dir))
				b.StartTimer()
			}
		}
	}
	b.Run("deakit", run(func(ctx context.Context, dir string) error {
		_, err := f.Seek(0, io.SeekStart)
		require.NoError(b, err)
		to, err := os.OpenRoot(dir)
		require.NoError(b, err)
		defer to.Close()
		return droplet.Unpack(ctx, f, to, ".", droplet.UnpackOptions{AbsoluteLinks: true})
	}))
	if _, err := exec.LookPath("tar"); err == nil {
		b.Run("tar", run(func(ctx context.Context, dir string) error {
			return exec.CommandContext(ctx, "tar", "-C", dir, "-xzf", name).Run()
		}))
	}
}

// BenchmarkMemory shows what is allocated to make a droplet: the figure does not grow with its size.
func BenchmarkMemory(b *testing.B) {
	for _, size := range []int64{16 << 20, 256 << 20} {
		b.Run(fmt.Sprintf("%dMiB", size>>20), func(b *testing.B) {
			var before, after runtime.MemStats
			for b.Loop() {
				runtime.GC()
				runtime.ReadMemStats(&before)
				_, err := droplet.Compress(b.Context(), io.Discard, io.LimitReader(zeros{}, size), droplet.PackOptions{Level: 1})
				require.NoError(b, err)
				runtime.ReadMemStats(&after)
			}
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/(1<<20), "MiB-allocated")
		})
	}
}
