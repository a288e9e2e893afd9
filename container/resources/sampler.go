package resources

import (
	"cmp"
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/deakit/deakit/container"
)

// slowMeasurement is after how long a measurement does not count among those at the same time any more: some that hang
// must not hold up all others.
const slowMeasurement = 100 * time.Millisecond

// SamplerConfig says how containers are measured. The zero value is usable; what is negative counts as zero.
type SamplerConfig struct {
	// Interval is the time between the beginnings of two passes over all containers; default 10 s.
	Interval time.Duration

	// Timeout bounds one measurement; default Interval, and at least 10 s: on a busy machine a measurement may well take
	// longer than a short interval, and one that is cut off each time tells nothing.
	Timeout time.Duration

	// AtOnce is how many containers are measured at the same time; default a quarter of the processors, and at least one.
	AtOnce int
}

// A Sampler measures all containers of a node, each one when it is new and then all in one pass at an interval: a back end
// that has to look at the whole machine can do that once for all of them, which it cannot when each is measured at a time of
// its own. A pass takes so many at a time, never a container twice: one whose measurement is still under way is left out.
type Sampler struct {
	cfg   SamplerConfig
	slots chan struct{} // holds a token for each measurement that counts
	wake  chan struct{} // receives when something is new

	mu      sync.Mutex
	watches map[*Watch]bool // true while one is being measured
	fresh   []*Watch        // not yet measured
}

// NewSampler returns a sampler, which begins with Run.
func NewSampler(cfg SamplerConfig) *Sampler {
	const usual = 10 * time.Second
	cfg.Interval = cmp.Or(max(cfg.Interval, 0), usual)
	cfg.Timeout = cmp.Or(max(cfg.Timeout, 0), max(cfg.Interval, usual))
	cfg.AtOnce = cmp.Or(max(cfg.AtOnce, 0), max(runtime.GOMAXPROCS(0)/4, 1))
	return &Sampler{
		cfg: cfg, slots: make(chan struct{}, cfg.AtOnce), wake: make(chan struct{}, 1), watches: map[*Watch]bool{},
	}
}

// Run measures until ctx ends. It returns nil when all measurements have ended.
func (s *Sampler) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	ticker := time.NewTicker(s.cfg.Interval)
	defer ticker.Stop()
	for {
		var due []*Watch
		select {
		case <-s.wake:
			due = s.due(false)
		case <-ticker.C:
			due = s.due(true)
		case <-ctx.Done():
			return nil
		}
		for _, w := range due {
			work.Go(func() { s.measure(ctx, w) })
		}
	}
}

// due returns what is to be measured, and marks it: all, or just what is new.
func (s *Sampler) due(all bool) []*Watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := s.fresh
	s.fresh = nil
	if all {
		due = make([]*Watch, 0, len(s.watches))
		for w, busy := range s.watches {
			if !busy {
				due = append(due, w)
			}
		}
	}
	for _, w := range due {
		if _, there := s.watches[w]; there {
			s.watches[w] = true
		}
	}
	return due
}

func (s *Sampler) measure(ctx context.Context, w *Watch) {
	defer s.measured(w)
	select {
	case s.slots <- struct{}{}:
	case <-w.ctx.Done():
		return
	case <-ctx.Done():
		return
	}
	leave := sync.OnceFunc(func() { <-s.slots })
	defer leave()
	defer time.AfterFunc(slowMeasurement, leave).Stop()
	limited, cancel := context.WithTimeout(w.ctx, s.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	usage, err := w.container.Usage(limited)
	if ctx.Err() == nil {
		w.record(usage, err)
	}
}

func (s *Sampler) measured(w *Watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.watches[w]; there {
		s.watches[w] = false
	}
}

// A Sample is what is known of the use of a container.
type Sample struct {
	Usage    container.Usage // the last measurement; zero before the first
	Previous container.Usage // an earlier one; zero before the second
	CPU      float64         // fraction of one core between the two; 0 before the second
}

// A Watch is the measuring of one container.
type Watch struct {
	sampler   *Sampler
	container container.Container
	observe   func(Sample, error)
	ctx       context.Context // ends with Stop
	cancel    context.CancelFunc

	mu     sync.Mutex // held while observe is called
	sample Sample
}

// Watch begins to measure a container: at once, and then with each pass. observe, if not nil, is told each sample, or the
// last good one with the error of a measurement that failed. It must not block, as another container waits for its turn, nor
// call Latest or Stop. The caller calls Stop.
func (s *Sampler) Watch(c container.Container, observe func(Sample, error)) *Watch {
	w := &Watch{sampler: s, container: c, observe: observe}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watches[w] = false
	s.fresh = append(s.fresh, w)
	select {
	case s.wake <- struct{}{}:
	default: // it will be seen with the others
	}
	return w
}

// Latest returns what is known.
func (w *Watch) Latest() Sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sample
}

// Stop ends the measuring. It waits for no measurement: one under way is told to end, and its result is told to nobody.
func (w *Watch) Stop() {
	w.mu.Lock()
	w.cancel()
	w.mu.Unlock()
	w.sampler.mu.Lock()
	defer w.sampler.mu.Unlock()
	delete(w.sampler.watches, w)
}

// record takes the result of a measurement.
func (w *Watch) record(usage container.Usage, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() != nil {
		return
	}
	if err == nil {
		if last := w.sample.Usage; !last.At.IsZero() && usage.At.After(last.At) {
			w.sample.Previous, w.sample.CPU = last, usage.CPU(last)
		}
		w.sample.Usage = usage
	}
	if w.observe != nil {
		w.observe(w.sample, err)
	}
}
