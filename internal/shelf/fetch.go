package shelf

import "context"

// Fetch calls ensure, which sees to it that the thing is there and whole, and returns with a reference to the key that
// the caller releases. Calls for a key that is being fetched wait for the fetch of the first one and get its result.
//
// The context that ensure gets has the values of the first call's, and ends when all calls that wait have ended theirs,
// or with Close. A fetch that nobody waits for any more may go on for a moment beside the next one. An error of ensure
// is returned as it is; ErrClosed and the cause of the end of ctx are the others.
func (s *Shelf) Fetch(ctx context.Context, key string, ensure func(context.Context) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f, err := s.join(ctx, key, ensure)
	if err != nil {
		return err
	}
	select {
	case <-f.done:
		err = f.err
	case <-ctx.Done():
		err = context.Cause(ctx)
		s.leave(key, f)
	}
	if err != nil {
		s.Release(key)
	}
	return err
}

// Waiting returns how many calls wait for the fetch of the key.
func (s *Shelf) Waiting(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil && e.flight != nil {
		return e.flight.waiters
	}
	return 0
}

// join holds the key and waits with the flight for it, which it starts if there is none.
func (s *Shelf) join(ctx context.Context, key string, ensure func(context.Context) error) (*flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	e := s.hold(key)
	if e.flight == nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f := &flight{cancel: cancel, done: make(chan struct{})}
		e.flight = f
		s.hold(key) // for the flight itself, which may outlast those who wait for it
		s.running.Go(func() {
			defer cancel()
			f.err = ensure(ctx)
			s.land(key, f)
			close(f.done)
		})
	}
	e.flight.waiters++
	return e.flight, nil
}

// leave stops waiting. A flight that nobody waits for is cancelled, and nobody joins it any more.
func (s *Shelf) leave(key string, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiters--; f.waiters > 0 {
		return
	}
	f.cancel()
	s.detach(key, f)
}

func (s *Shelf) land(key string, f *flight) {
	s.mu.Lock()
	s.detach(key, f)
	s.mu.Unlock()
	s.Release(key)
}

// detach takes the flight from its key. The caller holds s.mu.
func (s *Shelf) detach(key string, f *flight) {
	if e := s.entries[key]; e.flight == f {
		e.flight = nil
	}
}
