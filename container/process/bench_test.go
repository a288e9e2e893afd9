package process_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/process"
)

// BenchmarkLife makes a container, runs /bin/true in it and destroys it. The yardstick is to start and await /bin/true.
func BenchmarkLife(b *testing.B) {
	b.Run("yardstick", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, exec.Command("/bin/true").Run())
		}
	})
	limit := uint64(1024)
	for name, spec := range map[string]container.ProcessSpec{
		"plain":   {Path: "/bin/true"},
		"rlimits": {Path: "/bin/true", Rlimits: container.Rlimits{NoFile: &limit}},
	} {
		b.Run(name, func(b *testing.B) {
			backend := open(b, process.Options{})
			ctx := b.Context()
			for b.Loop() {
				c, err := backend.Create(ctx, container.Spec{})
				require.NoError(b, err)
				p, err := c.Run(ctx, spec, container.IO{})
				require.NoError(b, err)
				status, err := p.Wait(ctx)
				require.NoError(b, err)
				require.Zero(b, status)
				require.NoError(b, c.Destroy(ctx))
			}
		})
	}
}

// BenchmarkRun starts /bin/true and awaits it in a container that stays, with a supervisor and without. The yardstick is to
// start and await it.
func BenchmarkRun(b *testing.B) {
	b.Run("yardstick", func(b *testing.B) {
		for b.Loop() {
			require.NoError(b, exec.Command("/bin/true").Run())
		}
	})
	limit := uint64(1024)
	for _, mode := range []struct {
		name string
		opts process.Options
	}{
		{"supervised", process.Options{}},
		{"alone", process.WithoutSupervisor(process.Options{})},
	} {
		for name, rlimits := range map[string]container.Rlimits{"plain": {}, "rlimits": {NoFile: &limit}} {
			b.Run(mode.name+"/"+name, func(b *testing.B) {
				c, err := open(b, mode.opts).Create(b.Context(), container.Spec{})
				require.NoError(b, err)
				var starting time.Duration
				for b.Loop() {
					began := time.Now()
					p, err := c.Run(b.Context(), container.ProcessSpec{Path: "/bin/true", Rlimits: rlimits}, container.IO{})
					starting += time.Since(began)
					require.NoError(b, err)
					status, err := p.Wait(b.Context())
					require.NoError(b, err)
					require.Zero(b, status)
				}
				b.ReportMetric(float64(starting.Nanoseconds())/float64(b.N), "start-ns/op")
			})
		}
	}
}

// BenchmarkUsage measures a container of 20 processes. The yardstick is to read the numbers of the process table.
func BenchmarkUsage(b *testing.B) {
	b.Run("yardstick", func(b *testing.B) {
		for b.Loop() {
			_, err := os.ReadDir("/proc")
			require.NoError(b, err)
		}
	})
	b.Run("20 processes", func(b *testing.B) {
		backend := open(b, process.Options{})
		c, err := backend.Create(b.Context(), container.Spec{})
		require.NoError(b, err)
		for range 20 {
			_, err := c.Run(b.Context(), container.ProcessSpec{Path: "sleep", Args: []string{"1000"}}, container.IO{})
			require.NoError(b, err)
		}
		for b.Loop() {
			_, err := c.Usage(b.Context())
			require.NoError(b, err)
		}
	})
}

// BenchmarkNew opens and closes a depot while the machine has 2,000 processes more, one of them without any environment: a
// depot that has to be made, and one of before. The yardstick is to read the environments of all processes.
func BenchmarkNew(b *testing.B) {
	for n := range 2000 {
		cmd := exec.Command("sleep", "1000")
		if n == 0 {
			cmd.Env = []string{}
		}
		require.NoError(b, cmd.Start())
		b.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	b.Run("yardstick", func(b *testing.B) {
		for b.Loop() {
			names, err := filepath.Glob("/proc/[0-9]*/environ")
			require.NoError(b, err)
			for _, name := range names {
				_, _ = os.ReadFile(name) // it may have ended meanwhile
			}
		}
	})
	b.Run("made", func(b *testing.B) {
		dir := b.TempDir()
		for n := 0; b.Loop(); n++ {
			back, err := process.New(process.Options{Depot: filepath.Join(dir, strconv.Itoa(n))})
			require.NoError(b, err)
			require.NoError(b, back.Close(b.Context()))
		}
	})
	b.Run("of before", func(b *testing.B) {
		dir := b.TempDir()
		require.NoError(b, open(b, process.Options{Depot: dir}).Close(b.Context()))
		for b.Loop() {
			back, err := process.New(process.Options{Depot: dir})
			require.NoError(b, err)
			require.NoError(b, back.Close(b.Context()))
		}
	})
}
