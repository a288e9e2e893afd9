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
	"strings"
	"syscall"
	"testing"
	"time"

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

// cpu starts to measure the processor time of this process and of the programs it runs, which depends less on what else the
// machine does than the time on the clock.
func cpu(b *testing.B) (report func()) {
	used := func() (sum time.Duration) {
		for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
			var usage syscall.Rusage
			require.NoError(b, syscall.Getrusage(who, &usage))
			sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		}
		return sum
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N)/1e9, "cpu-s/op") }
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

	for _, format := range []droplet.Format{droplet.Gzip, droplet.Zstd} {
		b.Run("deakit-"+format.String(), func(b *testing.B) {
			b.SetBytes(size)
			var digest droplet.Digest
			report := cpu(b)
			for b.Loop() {
				digest, err = droplet.Pack(b.Context(), io.Discard, root, ".", droplet.PackOptions{Format: format})
				require.NoError(b, err)
			}
			report()
			b.ReportMetric(float64(digest.Size), "archive-bytes")
		})
	}
	for _, filter := range []string{"gzip", "pigz", "zstd -T0"} {
		b.Run("tar+"+filter, func(b *testing.B) {
			haveProgram(b, "tar")
			haveProgram(b, strings.Fields(filter)[0])
			b.SetBytes(size)
			var count counter
			report := cpu(b)
			for b.Loop() {
				count = 0
				cmd := exec.CommandContext(b.Context(), "tar", "-C", root.Name(), "-I", filter, "-cf", "-", ".")
				cmd.Stdout = &count
				require.NoError(b, cmd.Run())
			}
			report()
			b.ReportMetric(float64(count), "archive-bytes")
		})
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func BenchmarkUnpack(b *testing.B) {
	root := openRoot(b, sources(b))
	for _, format := range []droplet.Format{droplet.Gzip, droplet.Zstd} {
		file, err := os.Create(filepath.Join(b.TempDir(), "droplet"+format.Ext()))
		require.NoError(b, err)
		defer file.Close()
		_, err = droplet.Pack(b.Context(), file, root, ".", droplet.PackOptions{Format: format})
		require.NoError(b, err)
		data, err := os.ReadFile(file.Name())
		require.NoError(b, err)
		size := plainSize(b, data)
		run := func(unpack func(ctx context.Context, dir string) error) func(*testing.B) {
			return func(b *testing.B) {
				b.SetBytes(size)
				for b.Loop() {
					b.StopTimer()
					dir, err := os.MkdirTemp(b.TempDir(), "")
					require.NoError(b, err)
					b.StartTimer()
					require.NoError(b, unpack(b.Context(), dir))
					b.StopTimer()
					require.NoError(b, os.RemoveAll(dir))
					b.StartTimer()
				}
			}
		}
		b.Run("deakit-"+format.String(), run(func(ctx context.Context, dir string) error {
			_, err := file.Seek(0, io.SeekStart)
			require.NoError(b, err)
			to, err := os.OpenRoot(dir)
			require.NoError(b, err)
			defer to.Close()
			return droplet.Unpack(ctx, file, to, ".", droplet.UnpackOptions{AbsoluteLinks: true})
		}))
		b.Run("tar+"+format.String(), func(b *testing.B) {
			haveProgram(b, "tar")
			haveProgram(b, format.String())
			run(func(ctx context.Context, dir string) error {
				return exec.CommandContext(ctx, "tar", "-C", dir, "-I", format.String(), "-xf", file.Name()).Run()
			})(b)
		})
	}
}

// BenchmarkInspect reads what a droplet is; the last figure is how much of it was read.
func BenchmarkInspect(b *testing.B) {
	dir := b.TempDir()
	require.NoError(b, os.CopyFS(filepath.Join(dir, "app"), os.DirFS(sources(b))))
	require.NoError(b, os.WriteFile(filepath.Join(dir, "staging_info.yml"), []byte("start_command: x\n"), 0o644))
	data := pack(b, openRoot(b, dir), droplet.PackOptions{})
	var r *counted
	for b.Loop() {
		r = &counted{Reader: bytes.NewReader(data)}
		_, err := droplet.Inspect(b.Context(), r, droplet.Limits{})
		require.NoError(b, err)
	}
	b.ReportMetric(float64(r.n)/float64(len(data)), "read/size")
}

// BenchmarkMemory makes, verifies, reads and repacks droplets that do not compress, and shows the peak of the heap: it does
// not grow with the size. With -short there are only small ones.
func BenchmarkMemory(b *testing.B) {
	for _, format := range []droplet.Format{droplet.Gzip, droplet.Zstd} {
		for _, size := range []int64{64 << 20, 1 << 30} {
			if testing.Short() && size > 64<<20 {
				continue
			}
			b.Run(fmt.Sprintf("%s-%dMiB", format, size>>20), func(b *testing.B) {
				peak := uint64(0)
				for b.Loop() {
					runtime.GC()
					peak = max(peak, roundTrip(b, format, size, b.TempDir()))
				}
				b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
			})
		}
	}
}
