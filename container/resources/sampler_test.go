package resources_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/deakit/deakit/container"
	"github.com/deakit/deakit/container/memory"
	"github.com/deakit/deakit/container/resources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func idle(ctx context.Context, _ *memory.Process) int {
	<-ctx.Done()
	return 0
}

// A fleet is a sampler at work and what it measures. It lives in a bubble, which fails the test if a goroutine is left.
type fleet struct {
	t       *testing.T
	backend *memory.Backend
	sampler *resources.Sampler
}

func inBubble(t *testing.T, cfg resources.SamplerConfig, test func(*fleet)) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t, memory.New(memory.Options{Default: idle}), resources.NewSampler(cfg)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.sampler.Run(ctx) }()
		test(f)
		before := time.Now()
		cancel()
		require.NoError(t, <-ended)
		assert.Zero(t, time.Since(before), "nothing waits for the end of its time")
		require.NoError(t, f.backend.Close(t.Context()))
	})
}

func (f *fleet) create() (container.Container, *memory.Process) {
	c, err := f.backend.Create(f.t.Context(), container.Spec{})
	require.NoError(f.t, err)
	p, err := c.Run(f.t.Context(), container.ProcessSpec{Path: "app"}, container.IO{})
	require.NoError(f.t, err)
	return c, p.(*memory.Process)
}

func TestSamplerConfig(t *testing.T) {
	inBubble(t, resources.SamplerConfig{Interval: -1, Timeout: -1, AtOnce: -1}, func(f *fleet) {
		c, _ := f.create()
		w := f.sampler.Watch(c, nil)
		defer w.Stop()
		time.Sleep(11 * time.Second)
		assert.Equal(t, time.Now().Add(-time.Second), w.Latest().Usage.At)
	})
}

func TestSampler(t *testing.T) {
	inBubble(t, resources.SamplerConfig{}, func(f *fleet) {
		time.Sleep(3 * time.Second) // in the middle of an interval
		c, p := f.create()
		p.SetLoad(memory.Load{MemoryBytes: 5, Cores: 2})
		var told []resources.Sample
		w := f.sampler.Watch(c, func(s resources.Sample, err error) {
			assert.NoError(t, err)
			told = append(told, s)
		})
		synctest.Wait()
		assert.EqualValues(t, 5, w.Latest().Usage.MemoryBytes, "what is new is measured at once")
		assert.Zero(t, w.Latest().CPU, "one measurement tells nothing of the processor")

		time.Sleep(7 * time.Second)
		synctest.Wait()
		assert.Equal(t, 2.0, w.Latest().CPU)
		assert.Equal(t, 7*time.Second, w.Latest().Usage.At.Sub(w.Latest().Previous.At))
		p.SetLoad(memory.Load{Cores: 0.25})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.Equal(t, 0.25, w.Latest().CPU)
		assert.Len(t, told, 3)
		assert.Equal(t, w.Latest(), told[2])

		w.Stop()
		w.Stop() // once more is harmless
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Len(t, told, 3)
	})
}

// A failure keeps the last sample, and the next measurement counts from there.
func TestSamplerKeepsTheLastGoodSample(t *testing.T) {
	inBubble(t, resources.SamplerConfig{}, func(f *fleet) {
		c, p := f.create()
		p.SetLoad(memory.Load{Cores: 1})
		var failures []error
		w := f.sampler.Watch(c, func(s resources.Sample, err error) {
			if err != nil {
				failures = append(failures, err)
				assert.False(t, s.Usage.At.IsZero())
			}
		})
		synctest.Wait()
		first := w.Latest()
		broken := errors.New("broken")
		f.backend.Next(memory.Usage, memory.Fail(broken))
		f.backend.Next(memory.Usage, memory.NewGate().Hold) // until its time is over
		time.Sleep(15 * time.Second)
		assert.Equal(t, first, w.Latest())
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.Len(t, failures, 2)
		assert.ErrorIs(t, failures[0], broken)
		assert.ErrorIs(t, failures[1], context.DeadlineExceeded)
		assert.Equal(t, 1.0, w.Latest().CPU)
		w.Stop()
	})
}

// frozen is a container whose measurements are all of one moment, as when several share a look at the machine.
type frozen struct {
	container.Container
	usage atomic.Pointer[container.Usage]
}

func (f *frozen) Usage(context.Context) (container.Usage, error) { return *f.usage.Load(), nil }

func TestSamplerOfOneMoment(t *testing.T) {
	inBubble(t, resources.SamplerConfig{Interval: time.Minute}, func(f *fleet) {
		c, at := &frozen{}, time.Now()
		c.usage.Store(&container.Usage{})
		w := f.sampler.Watch(c, nil)
		defer w.Stop()
		for _, tc := range []struct {
			usage container.Usage
			cpu   float64
		}{
			{container.Usage{At: at, CPUTime: 2 * time.Second}, 0},
			{container.Usage{At: at.Add(time.Second), CPUTime: 3 * time.Second}, 1},
			{container.Usage{At: at.Add(time.Second), CPUTime: 3 * time.Second, DiskBytes: 1}, 1},
			{container.Usage{At: at.Add(2 * time.Second), CPUTime: time.Second}, 0}, // the counter began anew
		} {
			c.usage.Store(&tc.usage)
			time.Sleep(time.Minute)
			synctest.Wait()
			assert.Equal(t, tc.usage, w.Latest().Usage)
			assert.Equal(t, tc.cpu, w.Latest().CPU)
		}
	})
}

// Never two measurements of one container, never more at once than allowed, and none is left out.
func TestSamplerAtOnce(t *testing.T) {
	const all, most = 50, 3
	inBubble(t, resources.SamplerConfig{AtOnce: most}, func(f *fleet) {
		var now, highest, measured atomic.Int32
		busy := map[string]*atomic.Int32{}
		var slow memory.Hook
		slow = func(_ context.Context, handle string) error {
			f.backend.Next(memory.Usage, slow)
			highest.Store(max(highest.Load(), now.Add(1)))
			assert.EqualValues(t, 1, busy[handle].Add(1))
			time.Sleep(time.Millisecond)
			busy[handle].Add(-1)
			now.Add(-1)
			measured.Add(1)
			return nil
		}
		for range most {
			f.backend.Next(memory.Usage, slow)
		}
		var watched []container.Container
		for i := range all {
			c, err := f.backend.Create(t.Context(), container.Spec{Handle: fmt.Sprint("c", i)})
			require.NoError(t, err)
			busy[c.Handle()] = &atomic.Int32{}
			watched = append(watched, c)
		}
		for _, c := range watched {
			defer f.sampler.Watch(c, nil).Stop()
		}
		time.Sleep(time.Second)
		assert.EqualValues(t, all, measured.Load())
		time.Sleep(10 * time.Second)
		assert.EqualValues(t, 2*all, measured.Load())
		assert.EqualValues(t, most, highest.Load())
	})
}

// Some that hang are left out, hold up neither the others nor a Stop, and are measured again when they work.
func TestSamplerOfWhatHangs(t *testing.T) {
	inBubble(t, resources.SamplerConfig{AtOnce: 1, Timeout: 25 * time.Second}, func(f *fleet) {
		gate := memory.NewGate()
		var hanging []*resources.Watch
		for range 5 {
			c, _ := f.create()
			f.backend.Next(memory.Usage, gate.Hold)
			hanging = append(hanging, f.sampler.Watch(c, nil))
		}
		time.Sleep(time.Second)
		c, p := f.create()
		p.SetLoad(memory.Load{Cores: 1})
		w := f.sampler.Watch(c, nil)
		defer w.Stop()
		time.Sleep(20 * time.Second)
		assert.Equal(t, 1.0, w.Latest().CPU)

		hanging[0].Stop()
		for _, h := range hanging {
			assert.Zero(t, h.Latest())
		}
		gate.Release(nil)
		synctest.Wait()
		assert.Zero(t, hanging[0].Latest())
		for _, h := range hanging[1:] {
			assert.EqualValues(t, 1, h.Latest().Usage.Processes)
			h.Stop()
		}
	})
}

// A slow container takes a second for each measurement.
type slow struct{ container.Container }

func (s slow) Usage(ctx context.Context) (container.Usage, error) {
	select {
	case <-time.After(time.Second):
		return s.Container.Usage(ctx)
	case <-ctx.Done():
		return container.Usage{}, ctx.Err()
	}
}

// What takes longer than an interval that is short is known all the same.
func TestSamplerOfASlowMachine(t *testing.T) {
	inBubble(t, resources.SamplerConfig{Interval: 50 * time.Millisecond}, func(f *fleet) {
		c, _ := f.create()
		w := f.sampler.Watch(slow{c}, nil)
		defer w.Stop()
		time.Sleep(1500 * time.Millisecond)
		assert.EqualValues(t, 1, w.Latest().Usage.Processes)
	})
}

// The end of Run ends what hangs.
func TestSamplerEnds(t *testing.T) {
	inBubble(t, resources.SamplerConfig{Timeout: time.Hour}, func(f *fleet) {
		c, _ := f.create()
		gate := memory.NewGate()
		f.backend.Next(memory.Usage, gate.Hold)
		f.sampler.Watch(c, func(resources.Sample, error) { t.Error("told of what the end cut off") })
		<-gate.Reached()
	})
}
