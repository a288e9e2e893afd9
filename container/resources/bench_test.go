package resources_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/memory"
	"github.com/deakit/deakit/container/process"
	"github.com/deakit/deakit/container/resources"
)

// BenchmarkSampler measures what ten seconds of looking at all containers of a node cost in processor time: by a Sampler, and,
// as a yardstick, by a ticker of its own for each container. Run it with -benchtime=1x.
func BenchmarkSampler(b *testing.B) {
	const interval = 10 * time.Second
	for _, fleet := range []struct {
		name       string
		containers int
		open       func(*testing.B) container.Backend
	}{
		{"1000 in memory", 1000, func(b *testing.B) container.Backend {
			backend := memory.New(memory.Options{Default: idle})
			b.Cleanup(func() { require.NoError(b, backend.Close(context.Background())) })
			return backend
		}},
		{"200 of processes", 200, func(b *testing.B) container.Backend {
			backend, err := process.New(process.Options{Depot: b.TempDir(), WatchInterval: time.Hour})
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, backend.Close(context.Background())) })
			return backend
		}},
	} {
		b.Run(fleet.name, func(b *testing.B) {
			backend := fleet.open(b)
			var all []container.Container
			for range fleet.containers {
				c, err := backend.Create(b.Context(), container.Spec{})
				require.NoError(b, err)
				_, err = c.Run(b.Context(), container.ProcessSpec{Path: "sleep", Args: []string{"1000"}}, container.IO{})
				require.NoError(b, err)
				all = append(all, c)
			}
			b.Run("sampler", func(b *testing.B) {
				s := resources.NewSampler(resources.SamplerConfig{Interval: interval})
				for _, c := range all {
					defer s.Watch(c, func(_ resources.Sample, err error) { require.NoError(b, err) }).Stop()
				}
				cost(b, interval, func(ctx context.Context) { _ = s.Run(ctx) })
			})
			b.Run("tickers", func(b *testing.B) {
				cost(b, interval, func(ctx context.Context) {
					var work sync.WaitGroup
					for _, c := range all {
						work.Go(func() { tick(ctx, c, interval) })
					}
					work.Wait()
				})
			})
		})
	}
}

// tick measures a container at an interval that begins at any moment.
func tick(ctx context.Context, c container.Container, interval time.Duration) {
	select {
	case <-time.After(rand.N(interval)):
	case <-ctx.Done():
		return
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		limited, cancel := context.WithTimeout(ctx, interval)
		_, _ = c.Usage(limited)
		cancel()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// cost reports the processor time that run uses for each interval, once it has run for one.
func cost(b *testing.B, interval time.Duration, run func(context.Context)) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var work sync.WaitGroup
	work.Go(func() { run(ctx) })
	time.Sleep(interval + interval/2)
	before := cpu(b)
	for b.Loop() {
		time.Sleep(interval)
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/interval")
	cancel()
	work.Wait()
}

// cpu is the processor time of this process.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
