package containerkit

import (
	"context"
	"sync"

	"github.com/deakit/deakit/container"
)

// A Fleet is what a back end knows of its containers, each of which is a *C: which there are, and what is at work that its
// Close waits for. The zero value has none.
type Fleet[C any] struct {
	mu     sync.Mutex
	boxes  map[string]berth[C] // by handle
	closed error               // nil until Refuse
	work   sync.WaitGroup      // begun under mu
}

// A berth is the place of a container, from when it is begun to be made.
type berth[C any] struct {
	c    *C
	made bool
}

// Reserve takes the handle of a container that is to be made, and is not known before. It fails with container.ErrExists, or as
// Refuse was told. When it succeeds, the caller calls Publish, Add or Forget, and then done.
func (f *Fleet[C]) Reserve(ctx context.Context, handle string, c *C) (done func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refusal(ctx); err != nil {
		return nil, err
	}
	if _, taken := f.boxes[handle]; taken {
		return nil, container.ErrExists
	}
	f.set(handle, c, false)
	f.work.Add(1)
	return f.work.Done, nil
}

// Publish makes a container known that was made, unless Refuse was called meanwhile or ctx has ended.
func (f *Fleet[C]) Publish(ctx context.Context, handle string, c *C) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refusal(ctx); err != nil {
		return err
	}
	f.set(handle, c, true)
	return nil
}

// Add makes a container known, whatever was meanwhile.
func (f *Fleet[C]) Add(handle string, c *C) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set(handle, c, true)
}

// Forget gives the handle of a container back, made or not, unless another one has it by now.
func (f *Fleet[C]) Forget(handle string, c *C) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.boxes[handle].c == c {
		delete(f.boxes, handle)
	}
}

// Find returns a container, or nil: also while it is being made.
func (f *Fleet[C]) Find(handle string) *C {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.boxes[handle]; now.made {
		return now.c
	}
	return nil
}

// FindOrAdd returns a container that exists and may not be known yet: then it is what load returns, during which all others
// wait. It fails with container.ErrNotFound while the container is being made.
func (f *Fleet[C]) FindOrAdd(handle string, load func() (*C, error)) (*C, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, known := f.boxes[handle]
	switch {
	case now.made:
		return now.c, nil
	case known:
		return nil, container.ErrNotFound
	}
	c, err := load()
	if err != nil {
		return nil, err
	}
	f.set(handle, c, true)
	return c, nil
}

// All returns the containers, but for those that are being made.
func (f *Fleet[C]) All() []*C {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*C
	for _, now := range f.boxes {
		if now.made {
			all = append(all, now.c)
		}
	}
	return all
}

// Go runs work in a goroutine of its own, or fails as Refuse was told.
func (f *Fleet[C]) Go(work func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed != nil {
		return f.closed
	}
	f.work.Go(work)
	return nil
}

// Refuse lets Reserve, Publish and Go fail with err from now on.
func (f *Fleet[C]) Refuse(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = err
}

// Wait waits, once Refuse was called, for all that Reserve and Go began, or for the end of ctx, whose error it returns then.
func (f *Fleet[C]) Wait(ctx context.Context) error { return AwaitAll(ctx, &f.work) }

func (f *Fleet[C]) refusal(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.closed
}

func (f *Fleet[C]) set(handle string, c *C, made bool) {
	if f.boxes == nil {
		f.boxes = map[string]berth[C]{}
	}
	f.boxes[handle] = berth[C]{c, made}
}
